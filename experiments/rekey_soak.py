"""Keys change a thousand times over links that delay, reorder and lose packets: is a packet dropped for want of a
key?"""

from __future__ import annotations

import math
import random
from typing import ClassVar

from testbed.analysis import adjacency, multicast, of_run, protected
from testbed.analysis.convergence import converged_at
from testbed.analysis.counters import grown
from testbed.analysis.multicast import Phase
from testbed.analysis.run import NS, Run
from testbed.record.plan import Flow, Step, Stream
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
from testbed.topology.adjacent import live_segments
from testbed.topology.paths import expected_paths
from testbed.topology.resolved import Topology

SETTLE_S = 60
LIFETIME_S = 20
LOSS_PERCENT, DELAY_MS, JITTER_MS = 5.0, 40.0, 25.0
LEAST_REKEYS = 1000
FLOWS, RATE_PPS = 4, 10.0
MARK = "lossy"
WITHOUT_REKEYS = frozenset({"none", "native", "manual"})
UNLIKELY = 1e-6
"""The probability with which chance alone may break a limit set for the probes or for neighbours."""
NEIGHBORS_LOST, BY_CHANCE = "neighbours lost", "neighbours lost that the links' loss explains, at most"
PIM_HELLO_S, PIM_HELLOS = 30, 3
"""PIM sends a Hello every 30 s and declares a neighbour dead 105 s after the last (RFC 7761 §4.11): three were lost."""


class RekeySoak(Experiment):
    name = "rekey_soak"
    title = "A thousand rekeys over bad links"
    question = "Do rekeys cost packets or adjacencies when links delay, reorder and lose packets?"
    method = (
        f"After {SETTLE_S} s every link delays each packet by {DELAY_MS - JITTER_MS:g} to {DELAY_MS + JITTER_MS:g} ms "
        f"at random, so that packets overtake each other, and loses {LOSS_PERCENT:g} % in each direction. A group's "
        f"key lives {LIFETIME_S} s and an IKE SA five minutes. Drops are the growth of the counters in each router's "
        f"/proc/net/xfrm_stat from that moment to the end. {FLOWS} pairs of neighbours send each other {RATE_PPS:g} "
        "UDP packets a second over their link, and the losses are compared with those of the link itself. Hellos are "
        "lost like any packet, so a neighbour is declared dead now and then without any fault of a key; that number "
        "too is compared with what the links' loss explains."
    )
    shows_not = (
        "Losses are independent of each other. A link that is silent for longer than an IKE SA survives is not shown. "
        "All routers run all the time."
    )
    keyings = ("none", "lks")
    seeds = 1
    duration_s = 720.0
    main = Span("run's start to routes right", "the run's start", ROUTES_RIGHT)
    requests_since = "the moment at which the links become bad"
    options: ClassVar = {"policy": {"lifetimes": {"group_s": LIFETIME_S, "ike_s": 300, "atd_s": 2, "dtd_s": 5}}}

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        links = live_segments(topology)  # a dead link would come to life by losing less
        worse = {"delay_ms": DELAY_MS, "jitter_ms": JITTER_MS, "loss_percent": LOSS_PERCENT}
        return [
            step(SETTLE_S, "mark", name=MARK),
            *(step(SETTLE_S, "link_netem", segment=link, **worse) for link in links),
        ]

    def flows(self, topology: Topology) -> list[Flow]:
        flows: list[Flow] = []
        for one, other in direct_pairs(topology)[:FLOWS]:
            for src, dst in ((one, other), (other, one)):
                flow = Flow(src=src, dst=dst, rate_pps=RATE_PPS, start_s=SETTLE_S + 1, stop_s=self.duration_s - 2)
                flows.append(flow)
        return flows

    def streams(self, topology: Topology) -> list[Stream]:
        return usual_streams(topology)

    def measure(self, run: Run) -> Measures:
        topology, since = run.plan.topology, run.mark(MARK)
        converged = converged_at(topology, run.events, run.expected())
        end = run.events[-1]["t"]
        sent, lost, longest = probes(run)
        dropped = grown(run, MARK, "end")
        extra: dict[str, float | None] = {
            "rekeys": sum(event["t"] >= since for event in run.where("agent", "rekeyed")),
            "packets dropped by IPsec": sum(dropped.values()),
            "adjacencies lost": adjacency.losses(topology, run.events, since, end),
            NEIGHBORS_LOST: neighbors_lost(run, since),
            BY_CHANCE: lost_by_chance(topology, (end - since) / NS),
            "probes sent": sent,
            **({"probes lost, %": 100 * lost / sent} if sent else {}),
            "probes lost beyond the links' loss": max(0, lost - expected_losses(sent)),
            "probes lost in a row, most": longest,
        }
        extra |= dropped
        extra |= protected.in_clear(run)
        extra |= multicast.series(run, {self.begin: Phase(0, until=since)})
        return of_run.measures(
            run,
            main_s=None if converged is None else converged / NS,
            asked_from=since,
            extra=extra,
        )

    def judge(self, table: Table) -> list[Criterion]:
        criteria = []
        for keying, runs in table.measures.items():
            if keying in WITHOUT_REKEYS or not runs:
                continue

            fewest = min(int(run.extra.get("rekeys") or 0) for run in runs)
            criteria.append(
                Criterion(keying, f"at least {LEAST_REKEYS} rekeys a run", str(fewest), fewest >= LEAST_REKEYS)
            )
            for text, name in (
                ("no packet dropped by IPsec, for want of a key or otherwise", "packets dropped by IPsec"),
                ("no probe lost beyond what the links lose", "probes lost beyond the links' loss"),
            ):
                total = sum(int(run.extra[name] or 0) for run in runs)
                criteria.append(Criterion(keying, text, str(total), total == 0))
            most = max(int(run.extra[NEIGHBORS_LOST] or 0) for run in runs)
            limit = max(int(run.extra[BY_CHANCE] or 0) for run in runs)
            text = f"no more neighbours of OSPF and PIM lost in a run than lost Hellos explain ({limit})"
            criteria.append(Criterion(keying, text, str(most), most <= limit))
            criteria += self.none_in_clear(table, keying)
            most = max(int(run.extra["probes lost in a row, most"] or 0) for run in runs)
            limit = longest_by_chance(max(int(run.extra["probes sent"] or 0) for run in runs))
            criteria.append(Criterion(keying, f"at most {limit} probes lost in a row", str(most), most <= limit))
        return criteria

    def findings(self, table: Table) -> list[str]:
        return [
            f"{keying}: {between(run.extra['rekeys'] or 0 for run in runs)} rekeys, "
            f"{between(run.extra['packets dropped by IPsec'] or 0 for run in runs)} packets dropped by IPsec, "
            f"{between(run.extra[NEIGHBORS_LOST] or 0 for run in runs)} neighbours lost, of OSPF and of PIM."
            for keying, runs in table.measures.items()
            if keying not in WITHOUT_REKEYS and runs
        ]


def direct_pairs(topology: Topology) -> list[tuple[str, str]]:
    """Pairs of routers whose shortest paths to each other's loopback are one link, or several parallel links."""
    paths = expected_paths(topology)

    def direct(one: str, other: str) -> bool:
        hops = paths[one].get(topology.routers[other].loopback_of(topology.family).network, frozenset())
        ends = {interface.hop(topology.family) for interface in topology.routers[other].interfaces}
        return bool(hops) and hops <= ends

    pairs = {(min(name, each.neighbor_router), max(name, each.neighbor_router))
             for name in topology.routers for each in topology.neighbors(name)}  # fmt: skip
    return [(one, other) for one, other in sorted(pairs) if direct(one, other) and direct(other, one)]


def probes(run: Run) -> tuple[int, int, int]:
    """Probe packets sent, lost, and the longest run of losses."""
    sent = sum(int(event["sent"]) for event in run.where("probe", "flow"))
    received = sum(int(event["received"]) for event in run.where("probe", "flow"))
    rows = [int(event["last_seq"]) - int(event["first_seq"]) + 1 for event in run.where("probe", "loss")]
    return sent, sent - received, max(rows, default=0)


def expected_losses(sent: int) -> int:
    """The most losses that the links' chance explains: mean and five standard deviations (3e-7)."""
    share = LOSS_PERCENT / 100
    return math.ceil(sent * share + 5 * math.sqrt(sent * share * (1 - share)))


def neighbors_lost(run: Run, since: int) -> int:
    """How often a router declared a neighbour of OSPF or PIM dead, from `since` (ns) on."""
    changes = [event for event in run.where("frr", "adjacency") if event["t"] >= since]
    pim = len([event for event in changes if (event["daemon"], event["state"]) == ("pimd", "Down")])
    return pim + adjacency.losses(run.plan.topology, run.events, since, run.events[-1]["t"])


def lost_by_chance(topology: Topology, watched_s: float) -> int:
    """The most neighbours lost in `watched_s` seconds that the links' chance explains.

    OSPF declares a neighbour dead when no Hello came within the dead interval. Four Hellos are due in it: the first
    three must be lost, and the fourth need only be delayed more than the last one that came, as every second one is.
    """
    ospf, loss = topology.ospf, LOSS_PERCENT / 100
    directions = len(adjacency.expected(topology))
    mean = watched_s / ospf.hello_s * loss ** max(1, ospf.dead_s // ospf.hello_s - 1)
    if topology.pim is not None:
        mean += watched_s / PIM_HELLO_S * loss**PIM_HELLOS
    mean *= directions
    limit, share = 0, math.exp(-mean)  # a Poisson distribution's
    rest = 1 - share
    while rest > UNLIKELY:
        limit += 1
        share *= mean / limit
        rest -= share
    return limit


def longest_by_chance(sent: int) -> int:
    """The most losses in a row that the links' chance explains."""
    return math.ceil(math.log(UNLIKELY / max(1, sent)) / math.log(LOSS_PERCENT / 100))
