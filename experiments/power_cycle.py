"""One router loses its power and gets it back: how long until its adjacencies and all routes are restored?"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from testbed.analysis import adjacency, multicast, of_run, protected
from testbed.analysis.convergence import converged_at
from testbed.analysis.measures import total
from testbed.analysis.multicast import Phase
from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.record.plan import Plan, Step, Stream
from testbed.runner.experiment import (
    ROUTES_RIGHT,
    Criterion,
    Experiment,
    Measures,
    Span,
    Table,
    between,
    step,
)
from testbed.runner.streams import usual_streams
from testbed.topology.findings import nearest
from testbed.topology.resolved import Topology

SETTLE_S = 90
DARK_S = 60


def busiest(topology: Topology) -> str:
    """The router with the most neighbours; the first if several have as many."""
    return max(topology.routers, key=lambda name: len(topology.neighbors(name)))


def rendezvous_point(topology: Topology) -> str:
    """The router that is the rendezvous point. InputError without PIM."""
    if topology.pim is None:
        raise InputError("has no rendezvous point", where=f"topology {topology.name}", allowed="one without pim: off")
    return topology.pim.rp


def designated(topology: Topology) -> str:
    """The router that PIM elects on the first LAN: with equal priorities, the one with the greatest address (RFC 7761
    §4.3.2). InputError without a LAN."""
    for segment in topology.segments.values():
        if segment.kind == "lan":
            return max(topology.ends(segment.name), key=lambda end: end.ipv4.ip).router
    raise InputError("has no LAN, and so no designated router to cut off", where=f"topology {topology.name}")


def first_hop(topology: Topology) -> str:
    """The router of the first multicast source. InputError without one."""
    sources = [stream.source for stream in usual_streams(topology)]
    if not sources:
        raise InputError("has no multicast source", where=f"topology {topology.name}", allowed="one without pim: off")
    if sources[0] in topology.routers:
        return sources[0]
    members = topology.segments[topology.hosts[sources[0]].segment].members
    return next(node for node, _ in members if node in topology.routers)


VICTIMS: Mapping[str, Callable[[Topology], str]] = {
    "busiest": busiest, "rp": rendezvous_point, "dr": designated, "first-hop": first_hop,
}  # fmt: skip


def victim(topology: Topology, which: str) -> str:
    """The router whose power is cut: a word of VICTIMS, or a router's name. InputError for any other word."""
    if which in VICTIMS:
        return VICTIMS[which](topology)
    if which not in topology.routers:
        known = [*VICTIMS, *topology.routers]
        raise InputError(
            f"there is no router {which!r}{nearest(which, known)}", where="-o which", allowed=", ".join(known)
        )
    return which


class PowerCycle(Experiment):
    name = "power_cycle"
    title = "One router's power is cut and returns"
    question = (
        "How long after its boot does a router have its neighbours and its routes again, and how many requests does "
        "it send to the DKS?"
    )
    method = (
        f"The network runs for {SETTLE_S} s. The router with the most neighbours loses its power, and boots {DARK_S} s "
        "later, long after its neighbours declared it dead. `-o which=` chooses another router: rp, the rendezvous "
        "point; dr, the designated router of the first LAN; first-hop, the router of the first multicast source; or a "
        "name. Convergence is the time from that boot to the last moment at which a router's forwarding table came to "
        "match the shortest paths for good. For multicast, it runs from the power cut and from the boot to the moment "
        "from which on every reachable receiver hears every packet of its streams."
    )
    shows_not = "Computation costs nothing in virtual time. One router boots; recovery_storm has a whole domain."
    duration_s = 270.0
    main = Span("boot to routes right", "the boot of the router whose power was cut", ROUTES_RIGHT)
    requests_since = "the return of the power"
    options: ClassVar = {"which": "busiest"}

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        phase_s = round(rng.uniform(0, 10), 3)  # against the phase of the hello timers
        node = busiest(topology)
        return [
            step(SETTLE_S + phase_s, "power_off", nodes=[node]),
            step(SETTLE_S + phase_s + DARK_S, "mark", name="power_returns"),
            step(SETTLE_S + phase_s + DARK_S, "power_on", nodes=[node], jitter_s=0),
        ]

    def streams(self, topology: Topology) -> list[Stream]:
        return usual_streams(topology)

    def plan(self, topology: Topology, keying: str, seed: int, options: Mapping[str, Any]) -> Plan:
        """As Experiment.plan, with the router that `which` names."""
        nodes = (victim(topology, str(options.get("which", self.options["which"]))),)
        made = super().plan(topology, keying, seed, options)
        steps = (
            each.model_copy(update={"nodes": nodes}) if each.action in ("power_off", "power_on") else each
            for each in made.timeline
        )
        return made.model_copy(update={"timeline": tuple(steps)})

    def measure(self, run: Run) -> Measures:
        topology = run.plan.topology
        off = run.where("fault", "power_off")[0]
        node = off["node"]
        boot = min(event["t"] for event in run.where("fault", "power_on"))
        converged = converged_at(topology, run.events, run.expected())
        ups = [
            max((moment for moment, up in changes if up and moment >= boot), default=None)
            for ends, changes in adjacency.timeline(topology, run.events).items()
            if node in ends
        ]
        known = [moment for moment in ups if moment is not None]
        return of_run.measures(
            run,
            main_s=None if converged is None else (converged - boot) / NS,
            asked_from=run.mark("power_returns"),
            extra={
                "boot to first adjacency, s": (min(known) - boot) / NS if known else None,
                "boot to last adjacency, s": (max(known) - boot) / NS if len(known) == len(ups) else None,
                **protected.in_clear(run),
                **multicast.series(run, {"power cut": Phase(off["t"], frozenset({node})), self.begin: Phase(boot)}),
            },
        )

    def judge(self, table: Table) -> list[Criterion]:
        if "lks" not in table:
            return []
        runs = table.measures["lks"]
        there = total(runs)
        restored, expected = there.restored, there.expected
        criteria = [Criterion("lks", "every adjacency is back", f"{restored} of {expected}", restored == expected)]
        if "none" in table:
            criteria += self.as_fast(table, "lks")
        criteria += [*self.hears_in_time(table, "lks", "power cut"), *self.hears_in_time(table, "lks")]
        return criteria + self.none_in_clear(table, "lks")

    def findings(self, table: Table) -> list[str]:
        return [
            f"{keying}: {between(run.asked.total or 0 for run in runs)} requests reach the DKS "
            "from the boot to the end of the run."
            for keying, runs in table.measures.items()
            if any(run.asked.total for run in runs)
        ]
