"""Routers boot over long links that lose and reorder packets: when are they keyed, and when does routing work?"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from testbed.analysis import multicast, of_run
from testbed.analysis.convergence import converged_at, first_right_at
from testbed.analysis.multicast import Phase
from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.record.plan import Plan, Step
from testbed.runner.experiment import Criterion, Experiment, Measures, Span, Table, step
from testbed.topology.resolved import Topology

OFF_S, ON_S, SPREAD_S = 2.0, 5.0, 2.0
KEYED = "first boot to last neighbour keyed, s"
PAIRED = f"first boot{multicast.REGISTERS}"
FOR_GOOD = "first boot to routes right for good, s"
LIMITS = {"delay_ms": (0.0, 10_000.0), "loss_percent": (0.0, 100.0), "jitter": (0.0, 1.0)}


class LongWay(Experiment):
    name = "long_way"
    title = "A power failure where every link is long, and loses and reorders packets"
    question = (
        "Up to which delay, loss and jitter do routers get their keys, and how much does keying add to convergence?"
    )
    method = (
        "Every link has the delay, the loss and the jitter of the options, in each direction. Packets overtake each "
        f"other within the jitter. All routers lose their power at {OFF_S:g} s and boot from {ON_S:g} s on, within "
        f"{SPREAD_S:g} s of each other. The boot times are drawn at random for each seed and are the same for every "
        "keying mode. No process remembers the round-trip time of a link. Convergence is the time from the first boot "
        "to the first moment at which every router's forwarding table matches the shortest paths. Keying is the time "
        "from the first boot until the agents of all routers have reported all neighbours as keyed, for OSPF and PIM; "
        "keys for Registers are measured until every router shares them with the rendezvous point."
    )
    shows_not = (
        "How long adjacencies last. When a third of the packets is lost, four Hellos in a row are lost now and then, "
        "and OSPF declares the neighbour dead under any keying. OSPF's hello and dead intervals are 10 s and 40 s "
        "unless the topology says otherwise, whatever the delay. Rekeys and reboots of single routers over such links "
        "are tested in tests/unit/lks/test_long_ways.py."
    )
    topology = "line:2"
    keyings = ("none", "lks")
    seeds = 3
    duration_s = 480.0
    main = Span(
        "first boot to routes first right",
        "the first boot of a router after the power returned",
        "the first moment at which every router's forwarding table was what shortest paths say",
    )
    requests_since = "the return of the power"
    options: ClassVar = {"delay_ms": 1000.0, "loss_percent": 0.0, "jitter": 0.0}
    """`jitter`: as a fraction of the delay."""

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        return [
            step(OFF_S, "power_off", nodes="all", dks=True),
            step(ON_S, "mark", name="power_returns"),
            step(ON_S, "power_on", nodes="all", dks=True, jitter_s=SPREAD_S),
        ]

    def plan(self, topology: Topology, keying: str, seed: int, options: Mapping[str, Any]) -> Plan:
        """As Experiment.plan, with the delay, loss and jitter of the options on all links between routers.
        InputError."""
        asked = {name: _number(name, options.get(name, usual)) for name, usual in self.options.items()}
        delay_ms = asked["delay_ms"]
        links = {
            name: segment.model_copy(
                update={
                    "delay_ms": delay_ms,
                    "jitter_ms": delay_ms * asked["jitter"],
                    "loss_percent": asked["loss_percent"],
                }
            )
            if sum(node in topology.routers for node, _interface in segment.members) > 1
            else segment
            for name, segment in topology.segments.items()
        }
        return super().plan(topology.model_copy(update={"segments": links}), keying, seed, {**options, **asked})

    def measure(self, run: Run) -> Measures:
        topology = run.plan.topology
        first = min(event["t"] for event in run.where("fault", "power_on") if event["node"] in topology.routers)
        right = first_right_at(topology, run.events, run.expected(), first)
        for_good = converged_at(topology, run.events, run.expected())
        keyed, pim = _keyed_at(run, first), topology.pim
        paired = None if pim is None else multicast.paired_at(run, pim.rp, Phase(first), run.events[-1]["t"])
        return of_run.measures(
            run,
            main_s=None if right is None else (right - first) / NS,
            asked_from=run.mark("power_returns"),
            extra={
                FOR_GOOD: None if for_good is None else (for_good - first) / NS,
                **({} if run.plan.keying == "none" else {KEYED: None if keyed is None else (keyed - first) / NS}),
                **(
                    {}
                    if pim is None or not run.where("agent", "pair")
                    else {PAIRED: None if paired is None else (paired - first) / NS}
                ),
            },
        )

    def judge(self, table: Table) -> list[Criterion]:
        if "lks" not in table or "none" not in table:
            return []
        ours, none = table.median_s("lks"), table.median_s("none")
        value = " against ".join("never" if each is None else f"{each:.2f} s" for each in (ours, none))
        # Keying is not judged where OSPF itself does not come up in time.
        text = "routes are right wherever they are without keys"
        return [Criterion("lks", text, value, ours is not None or none is None)]


def _number(name: str, value: Any) -> float:
    low, high = LIMITS[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"{name} is {value!r}", where=f"-o {name}", allowed=f"a number from {low:g} to {high:g}")
    return float(value)


def _keyed_at(run: Run, since: int) -> int | None:
    """When every router had reported each of its neighbours as keyed (ns); None when one never was."""
    topology = run.plan.topology
    missing = {
        (name, each.interface.name, each.neighbor_router)
        for name in topology.routers
        for each in topology.neighbors(name)
    }
    for event in run.where("agent", "keyed"):
        if event["t"] >= since:
            missing.discard((event["node"], event["interface"], event["neighbor"]))
        if not missing:
            return int(event["t"])
    return None
