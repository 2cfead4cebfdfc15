"""The guided tour: one run that shows in two minutes what this is, and the sentences that tell it.

A network comes up in clear, is protected link by link while it runs, loses its key server, then all of its power, and
comes back without it. Knows the timeline and its words; not how a page shows them.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

from testbed.analysis.run import NS, Run
from testbed.record.plan import Step, Stream
from testbed.runner.experiment import Experiment, Measures, step
from testbed.runner.streams import usual_streams
from testbed.topology.resolved import Topology

NAME = "demo"
TOPOLOGY = "ring:6"
SPEED = 2
"""Seconds of the record that a page plays in one: the story lasts about two minutes."""
DEPLOY_S, EVERY_S, ATTEMPTS = 30.0, 4.0, 28
DKS_S, OFF_S, ON_S, BACK_S, END_S = 155.0, 165.0, 175.0, 195.0, 235.0
STORY = (
    (0.0, "up", "Six routers start. OSPF and PIM run in clear: anyone on a link could join in."),
    (DEPLOY_S, "deploy", "The administrator protects the network while it runs: link by link from clear to listen, "
                         "permissive and required, each step only when the routers have signed that the one before "
                         "is done."),
    (DEPLOY_S + EVERY_S * ATTEMPTS, "required", "Every link is required: routing packets travel in ESP, each router "
                                                "has keys of its own, and no adjacency was lost."),
    (DKS_S, "dks", "The Domain Key Server dies. Nothing happens: the Local Key Servers need it for no key in force."),
    (OFF_S, "dark", "The power fails. All six routers are off, and have lost their memory."),
    (ON_S, "power", "The power returns; the key server stays dead. Each router gets its keys from its neighbours."),
    (BACK_S, "back", "Adjacencies, routes and multicast are back, as fast as without security."),
)  # fmt: skip
"""When (seconds since `SINCE`), the mark of the record, and what is said from then on."""
SINCE = "all daemons ran"


class Demo(Experiment):
    """Not one of the experiments: it measures nothing, and is played once."""

    name = NAME
    title = "A guided tour"
    question = "How does automated key management protect a network?"
    method = "A network comes up in clear, is protected link by link, loses its key server and its power."
    topology = TOPOLOGY
    keyings: ClassVar[tuple[str, ...]] = ("lks",)
    seeds = 1
    duration_s = END_S
    options: ClassVar[dict[str, Any]] = {
        "mode": "clear",
        "policy": {"reconnect": {"first_min_s": 5, "first_max_s": 15, "max_s": 60}},
    }

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        """The story's steps and marks."""
        names = list(topology.routers)
        deploy = [step(DEPLOY_S + EVERY_S * n, "policy_step", direction="up") for n in range(ATTEMPTS)]
        marks = [step(at_s, "mark", name=name) for at_s, name, _ in STORY]
        return [
            *marks, *deploy, step(DKS_S, "dks_kill"), step(OFF_S, "power_off", nodes=names),
            step(ON_S, "power_on", nodes=names, jitter_s=3),
        ]  # fmt: skip

    def streams(self, topology: Topology) -> list[Stream]:
        """Two multicast streams of one source, from the first service on."""
        return usual_streams(topology, 20.0, sources=1, receivers=2)

    def measure(self, run: Run) -> Measures:
        """Nothing is asked of it."""
        return Measures(None)


def story(ready: int) -> list[tuple[int, str]]:
    """What is said from which moment (ns) on. `ready`: the moment at which all daemons ran."""
    return [(ready + round(at_s * NS), text) for at_s, _, text in STORY]
