"""A new link between two routers while the DKS is dead, cut off, and reachable; and a router's replacement by a new
machine while the DKS is dead. How long until they are neighbours, how many datagrams reach the DKS, and what access do
an outsider with the same cable and the thief of the old machine get?"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from typing import Any, ClassVar

import networkx

from testbed.analysis import adjacency
from testbed.analysis.measures import RequestCounts
from testbed.analysis.run import NS, Run
from testbed.faults import packets
from testbed.record.plan import Step
from testbed.runner.experiment import Criterion, Experiment, Measures, Span, Table, step
from testbed.topology.resolved import Topology
from testbed.topology.spare import spare_links

SETTLE_S, GAP_S = 90.0, 130.0
PHASE_S = 10.0
"""A hello interval: the bound of the administrator's random delay."""
CASES = ("DKS dead", "DKS cut off", "DKS reachable")
UP, KEYED = "allowed to adjacency up, {}, s", "allowed to both keyed, {}, s"
ASKED = "datagrams at the DKS meanwhile, {}"
REPLACED = "router replaced, DKS dead"
REPLACED_UP = "boot of the new machine to its adjacencies up, s"
REPLACED_KEYED = "boot of the new machine to all its neighbours keyed, s"
FELL, EARLY, ADMITTED = "adjacencies of other links lost", "adjacencies before they were allowed", "outsiders admitted"
TRIALS = 5
"""Two outsiders before the link is allowed, two after, and the thief of the replaced machine."""
UP_WITHIN_S, KEYED_WITHIN_S = 40.0, 15.0
"""A dead interval; and, with a wide margin, the DKS's poll of its folder (2 s) or a way through the network, plus two
handshakes. The keys are there long before the next Hello."""


class Choice:
    """The new link of each case, and the router that is handed the documents: the farthest from both ends."""

    def __init__(self, topology: Topology) -> None:
        """InputError for a network with too few spare links."""
        self._topology = topology
        self.links = dict(zip(CASES, spare_links(topology, len(CASES)), strict=True))
        graph = self._allowed(list(self.links.values())[1:])
        whole = [
            name for name in graph
            if name != topology.dks.router and networkx.is_connected(networkx.subgraph(graph, set(graph) - {name}))
        ]  # fmt: skip
        self.replaced = max(sorted(whole), key=lambda name: graph.degree(name))
        """The router that is replaced: the one with the most neighbours while the first of the new links is allowed,
        among those whose loss leaves the network connected; never the DKS's router."""
        self.neighbors = sorted(graph.neighbors(self.replaced))
        away = networkx.single_source_shortest_path_length(graph, self.replaced)
        self.hand_to_replaced = max(sorted(graph), key=lambda name: away[name])

    def _allowed(self, without: Collection[str]) -> networkx.Graph:
        """The routers and their neighbourhoods while the links in `without` are not allowed."""
        graph = networkx.Graph()
        graph.add_nodes_from(self._topology.routers)
        for name in self._topology.segments:
            there = [end.router for end in self._topology.ends(name)]
            if name not in without:
                graph.add_edges_from((there[0], other) for other in there[1:])
        return graph

    def of_replaced(self) -> list[adjacency.Ends]:
        """All directions of the replaced router's adjacencies, over links that are allowed then."""
        later = list(self.links.values())[1:]
        ends = []
        for each in self._topology.neighbors(self.replaced):
            if each.interface.segment not in later:
                ends.append(adjacency.Ends(self.replaced, each.interface.name, each.neighbor_router))
                ends.append(adjacency.Ends(each.neighbor_router, each.neighbor_interface.name, self.replaced))
        return ends

    def ends(self, case: str) -> list[tuple[str, str]]:
        """Router and interface of both ends."""
        return [(end.router, end.name) for end in self._topology.ends(self.links[case])]

    def directions(self, case: str) -> list[adjacency.Ends]:
        """Both directions of the adjacency."""
        (a, at_a), (b, at_b) = self.ends(case)
        return [adjacency.Ends(a, at_a, b), adjacency.Ends(b, at_b, a)]

    def hand_to(self, case: str) -> str:
        """The router that is handed the documents."""
        graph = self._allowed(list(self.links.values()))
        ways = [networkx.single_source_shortest_path_length(graph, node) for node, _name in self.ends(case)]
        return max(sorted(self._topology.routers), key=lambda name: min(way[name] for way in ways))


class NewNeighbor(Experiment):
    name = "new_neighbor"
    title = "A new link while the DKS is away"
    question = (
        "An administrator with a delegated key and no connection to the DKS allows two routers to become neighbours "
        "over a new link. How long does that take, how many datagrams reach the DKS, and what access does an outsider "
        "with the same cable get?"
    )
    method = (
        f"{len(CASES)} links that the network can do without are in no router's policy at the start; all others are "
        "`required`. The DKS is killed, and the administrator allows the first of them: the new documents, signed "
        "with a delegated key, are handed to the router that is farthest from both ends (`lks accept`), and to no "
        "other. Then a router loses its power, and another machine with a key of its own takes its place. The "
        "administrator signs the documents that name it with the delegated key, gives the machine its own document, "
        "and hands the others to the router that is farthest from it. Then the DKS runs again but is cut off from all "
        "routers, and the administrator allows the second link in the same way. Last, with the DKS reachable, the "
        "documents of the third link are given to the DKS alone. Times run from the moment at which the administrator "
        "allows the link to the moment at which both ends have each other's keys, and to that at which OSPF's "
        "adjacency is up in both directions. An outsider sits on the first link all the time: before and after the "
        "link is allowed, it sends Hellos in clear in a router's name, and speaks IKE under an unapproved name and "
        "under a router's name with another key. A thief of the replaced machine speaks IKE to a neighbour with the "
        "old key."
    )
    shows_not = (
        "Only the root key signs a revocation list, so the old key of the replaced router is on none: a router that "
        "does not have the new documents yet still accepts it. How long OSPF takes depends on when its next Hello "
        "comes: up to 10 s. Point-to-point links only."
    )
    topology = "grid:3x3"
    keyings: ClassVar[tuple[str, ...]] = ("dks-lks", "lks")
    seeds = 3
    duration_s = SETTLE_S + (len(CASES) + 1) * GAP_S
    options: ClassVar = {
        "new_links": len(CASES),
        "policy": {"carries": 4, "reconnect": {"first_min_s": 20, "first_max_s": 60, "max_s": 90}},
    }
    main = Span(
        "allowed to adjacency up, DKS dead",
        "the moment at which the administrator allows it, while the DKS is dead",
        "the moment at which the adjacency of the new link is up in both directions",
    )
    requests_since = "the run's start"

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        chosen = Choice(topology)
        dead, new, cut, there = (SETTLE_S + number * GAP_S for number in range(len(CASES) + 1))
        link = {case: chosen.links[case] for case in CASES}
        phase = [round(20 + rng.uniform(0, PHASE_S), 3) for _case in CASES]
        old, neighbor = chosen.replaced, chosen.neighbors[0]
        (theirs,) = [each.interface.segment for each in topology.neighbors(old) if each.neighbor_router == neighbor][:1]
        return [
            step(SETTLE_S - 40, "tap", segment=link[CASES[0]]),
            *strangers(topology, chosen, SETTLE_S - 38),
            step(dead, "dks_kill"),
            step(dead + phase[0], "link_allow", segment=link[CASES[0]], hand_to=chosen.hand_to(CASES[0])),
            *strangers(topology, chosen, dead + 80),
            step(new, "power_off", nodes=[old]),
            step(new + 50, "router_replace", router=old, hand_to=chosen.hand_to_replaced),
            *([] if theirs == link[CASES[0]] else [step(new + 51, "tap", segment=theirs)]),
            step(new + 52, "power_on", nodes=[old]),
            step(new + 95, "impostor", segment=theirs, victim=neighbor, router=old, name=old, key=old),
            step(cut - 20, "dks_start"),
            step(cut, "partition", groups=[["dks"]]),
            step(cut + phase[1], "link_allow", segment=link[CASES[1]], hand_to=chosen.hand_to(CASES[1])),
            step(there - 20, "heal"),
            step(there + phase[2], "link_allow", segment=link[CASES[2]]),
        ]

    def measure(self, run: Run) -> Measures:
        topology, chosen = run.plan.topology, Choice(run.plan.topology)
        changes = adjacency.timeline(topology, run.events)
        allowed = {event["segment"]: event["t"] for event in run.where("fault", "link_allow")}
        requests = [event["t"] for event in run.where("agent", "request", "dks")]
        extra: dict[str, float | None] = {}
        early = 0
        for case in CASES:
            began = allowed[chosen.links[case]]
            ups = [next((t for t, up in changes[each] if up and t >= began), None) for each in chosen.directions(case)]
            early += sum(up and t < began for each in chosen.directions(case) for t, up in changes[each])
            keyed = [
                next((event["t"] for event in run.where("agent", "keyed", node)
                      if event["interface"] == name and event["t"] >= began), None)
                for node, name in chosen.ends(case)
            ]  # fmt: skip
            extra[UP.format(case)] = _last(ups, began)
            extra[KEYED.format(case)] = _last(keyed, began)
            until = max((t for t in ups if t is not None), default=began)
            extra[ASKED.format(case)] = sum(began <= t <= until for t in requests)
        outcomes = [event["outcome"] for event in run.where("probe", "impostor")]
        new = {each for case in CASES for each in chosen.directions(case)}
        first = next(iter(run.where("fault", "dks_kill")))["t"]
        falls = adjacency.falls(topology, run.events)
        of_replaced = chosen.of_replaced()
        off, boot = (next(iter(run.where("fault", kind, chosen.replaced)))["t"] for kind in ("power_off", "power_on"))
        back = [next((t for t, up in changes[each] if up and t >= boot), None) for each in of_replaced]
        heard = [
            next((event["t"] for event in run.where("agent", "keyed", each.router)
                  if event["interface"] == each.interface and event["t"] >= boot), None)
            for each in of_replaced
        ]  # fmt: skip
        extra[REPLACED_KEYED], extra[REPLACED_UP] = _last(heard, boot), _last(back, boot)
        until = max((t for t in back if t is not None), default=boot)
        extra[ASKED.format(REPLACED)] = sum(off <= t <= until for t in requests)
        # A neighbour notices within a dead interval that the router is off.
        mine = {each: (off, boot + round(UP_WITHIN_S * NS)) for each in of_replaced}
        extra |= {
            FELL: sum(
                t >= first and not (ends in mine and mine[ends][0] <= t <= mine[ends][1])
                for ends, moments in falls.items()
                if ends not in new
                for t in moments
            ),
            EARLY: early,
            ADMITTED: sum(each == "admitted" for each in outcomes),
            "outsiders that tried": len(outcomes),
        }
        first_time = sum(not event["retransmission"] for event in run.where("agent", "request", "dks"))
        return Measures(
            main_s=extra[UP.format(CASES[0])],
            adjacencies=adjacency.at_end(topology, run.events),
            dks=RequestCounts(len(requests), first_time),
            extra=extra,
        )

    def judge(self, table: Table) -> list[Criterion]:
        criteria = []
        for keying, runs in table.measures.items():
            if not runs:
                continue
            for case in CASES:
                for text, name, limit in (
                    ("both ends keyed", KEYED, KEYED_WITHIN_S), ("adjacency up", UP, UP_WITHIN_S),
                ):  # fmt: skip
                    values = [run.extra[name.format(case)] for run in runs]
                    ok = all(each is not None and each <= limit for each in values)
                    criteria.append(Criterion(keying, f"{case}: {text} within {limit:g} s", _seconds(values), ok))
            for text, name, limit in (
                ("all its neighbours keyed", REPLACED_KEYED, KEYED_WITHIN_S),
                ("its adjacencies up", REPLACED_UP, UP_WITHIN_S),
            ):
                values = [run.extra[name] for run in runs]
                ok = all(each is not None and each <= limit for each in values)
                text = f"{REPLACED}: {text} within {limit:g} s of its boot"
                criteria.append(Criterion(keying, text, _seconds(values), ok))
            for case in (*CASES[:2], REPLACED):
                asked = sum(int(run.extra[ASKED.format(case)] or 0) for run in runs)
                criteria.append(Criterion(keying, f"{case}: no datagram reaches the DKS", str(asked), asked == 0))
            for text, name in (
                ("no other adjacency is lost", FELL), ("no new adjacency is up before it is allowed", EARLY),
                ("no outsider is admitted", ADMITTED),
            ):  # fmt: skip
                count = sum(int(run.extra[name] or 0) for run in runs)
                tried = all(run.extra["outsiders that tried"] == TRIALS for run in runs)
                criteria.append(Criterion(keying, text, str(count), count == 0 and tried))
        return criteria

    def findings(self, table: Table) -> list[str]:
        return [
            f"{keying}: "
            + "; ".join(
                f"{case}: keyed after {_seconds(run.extra[KEYED.format(case)] for run in runs)}, adjacency up after "
                f"{_seconds(run.extra[UP.format(case)] for run in runs)}"
                for case in CASES
            )
            + f"; {REPLACED}: keyed after {_seconds(run.extra[REPLACED_KEYED] for run in runs)}, adjacencies up after "
            f"{_seconds(run.extra[REPLACED_UP] for run in runs)}"
            + f"; none of {int(sum(run.extra['outsiders that tried'] or 0 for run in runs))} outsiders was admitted."
            for keying, runs in table.measures.items()
            if runs and not any(run.extra[ADMITTED] for run in runs)
        ]


def strangers(topology: Topology, chosen: Choice, at_s: float) -> list[Step]:
    """The steps of an outsider on the first link's cable: Hellos in clear, and IKE under two names."""
    segment = chosen.links[CASES[0]]
    (victim, _at), (router, name) = chosen.ends(CASES[0])
    end, timers = topology.routers[router].interface(name), topology.ospf
    source = end.ipv4 if topology.family == 4 else end.ipv6_link_local
    hello = packets.hello(topology.routers[router].router_id, source, end.area, timers.hello_s, timers.dead_s)
    frame = packets.frame(end.hop(topology.family), packets.all_ospf(topology.family), packets.OSPF, hello)
    words: dict[str, Any] = {"segment": segment, "victim": victim, "router": router, "key": "stranger"}
    return [
        step(at_s, "inject", segment=segment, frames=[frame.hex()], copies=3, gap_s=1),
        step(at_s + 4, "impostor", name="stranger", **words),
        step(at_s + 13, "impostor", name=router, **words),
    ]


def _last(moments: list[int | None], began: int) -> float | None:
    """Seconds from `began` (ns) to the last of these moments; None if one is missing."""
    known = [each for each in moments if each is not None]
    return (max(known) - began) / NS if len(known) == len(moments) else None


def _seconds(values: Iterable[float | None]) -> str:
    values_ = list(values)
    known = [each for each in values_ if each is not None]
    return "never" if len(known) < len(values_) else f"{min(known):.2f} to {max(known):.2f} s"
