"""Three routers are removed, each under harder conditions: how long do other routers still accept them?"""

from __future__ import annotations

import random
from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Any, ClassVar

import networkx

from agents.policy import edit
from agents.policy.bound import Case, removal_bound
from agents.policy.domain import Domain
from agents.policy.errors import PolicyError
from testbed.analysis import adjacency, multicast, requests
from testbed.analysis.measures import RequestCounts
from testbed.analysis.multicast import Phase
from testbed.analysis.run import NS, Run
from testbed.domains.build import domain_of
from testbed.domains.keys import keys_of
from testbed.errors import InputError
from testbed.keying.options import AgentOptions
from testbed.record.plan import Step, Stream
from testbed.runner.experiment import Criterion, Experiment, Measures, Span, Table, step
from testbed.runner.streams import usual_streams
from testbed.topology.resolved import Topology

SETTLE_S, GAP_S = 90, 60
LEASE_S = 240
CASES = {"DKS reachable": Case.DKS, "DKS down": Case.NEIGHBORS, "isolated": Case.ISOLATED}
SPAN = "removed to last SA gone, {}, s"
POLICY: dict[str, Any] = {
    "lease": {"seconds": LEASE_S, "at_end": "close"},
    "reconnect": {"first_min_s": 5, "first_max_s": 20, "max_s": 60},
}


class Choice:
    """The removed router of each case, the router that is handed the list, and the neighbour isolated with the
    third."""

    def __init__(self, topology: Topology) -> None:
        """InputError for a network that is too small: it must stay connected without the removed routers."""
        graph = networkx.Graph(topology.graph())
        graph.remove_nodes_from([name for name in graph if name not in topology.routers])
        home = topology.dks.router
        self.first = _spare(graph, {home}, topology)
        graph.remove_node(self.first)
        self.second = _spare(graph, {home}, topology)
        far = networkx.single_source_shortest_path_length(graph, self.second)
        self.hand_to = max((name for name in far if name != self.second), key=lambda name: (far[name], name))
        graph.remove_node(self.second)
        pairs = [
            (one, friend)
            for one in sorted(graph)
            for friend in sorted(graph[one])
            if home not in (one, friend) and self._whole(graph, {one, friend})
        ]
        if not pairs:
            raise InputError(
                "no two neighbours can be cut off so that the rest stays connected", where=f"topology {topology.name}"
            )
        self.third, self.friend = pairs[0]
        self.rest = sorted(set(graph) - {self.third, self.friend})

    @staticmethod
    def _whole(graph: Any, without: set[str]) -> bool:
        rest = graph.subgraph(set(graph) - without)
        return len(rest) > 1 and networkx.is_connected(rest)

    def removed(self) -> dict[str, str]:
        """The removed router of each case."""
        return dict(zip(CASES, (self.first, self.second, self.third), strict=True))


def _spare(graph: Any, keep: set[str], topology: Topology) -> str:
    """The router with the most neighbours, among those whose loss leaves the network connected. InputError without
    one."""
    candidates: list[str] = [name for name in sorted(graph) if name not in keep and Choice._whole(graph, {name})]
    if not candidates:
        raise InputError("every router's removal would cut the network in two", where=f"topology {topology.name}")
    return max(candidates, key=lambda name: len(topology.neighbors(name)))


class Revocation(Experiment):
    name = "revocation"
    title = "A router is removed"
    question = (
        "How long does any router accept a router whose key was revoked, and does the bound that was shown before hold?"
    )
    method = (
        f"After {SETTLE_S} s a router's key is revoked, and the DKS finds the signed list in its folder. {GAP_S} s "
        "later the DKS is killed; a second router is removed, and the list is handed to the router farthest from it. "
        "Then a third router and one of its neighbours are cut off from the rest, and the third router is removed: "
        f"that neighbour has contact with the removed router only. Leases last {LEASE_S} s and end closed. Times run "
        "from the removal to the moment at which the last neighbour's kernel deleted its last SA from the removed "
        "router. The bound is the one that `policy router remove --explain` computes from the domain alone, with a "
        "whole lease."
    )
    shows_not = (
        "Working links lose nothing here, while the bound allows for the loss of every transmission of a step except "
        "the last. Removed routers continue as before and forge nothing. Point-to-point links only."
    )
    keyings = ("lks",)
    seeds = 3
    duration_s = SETTLE_S + 3 * GAP_S + LEASE_S + 60.0
    options: ClassVar = {"policy": POLICY}
    main = Span(
        "removed to last SA gone, DKS reachable",
        "the removal of the router while the DKS can be reached",
        "the moment at which the last neighbour's kernel gave up its last SA of the removed router",
    )
    requests_since = "the run's start"

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        chosen = Choice(topology)
        phase = [round(rng.uniform(0, 10), 3) for _case in CASES]
        killed, parted = SETTLE_S + GAP_S, SETTLE_S + 2 * GAP_S
        apart = [[chosen.third, chosen.friend], [*chosen.rest, chosen.first, chosen.second]]
        return [
            step(SETTLE_S + phase[0], "router_remove", router=chosen.first),
            step(killed, "dks_kill"),
            step(killed + 20 + phase[1], "router_remove", router=chosen.second, hand_to=chosen.hand_to),
            step(parted, "partition", groups=apart),
            step(parted + 5 + phase[2], "router_remove", router=chosen.third, hand_to=chosen.rest[0]),
        ]

    def streams(self, topology: Topology) -> list[Stream]:
        return usual_streams(topology)

    def measure(self, run: Run) -> Measures:
        topology, chosen = run.plan.topology, Choice(run.plan.topology)
        domain = _domain(run)
        extra: dict[str, float | None] = {}
        for case, router in chosen.removed().items():
            began = next(event["t"] for event in run.where("fault", "router_remove") if event["node"] == router)
            bounds: dict[str, float | None] = {}  # a neighbour over several links has the greatest bound of them
            for each in removal_bound(domain, router, CASES[case]):
                known = bounds.get(each.router, 0.0)
                bounds[each.router] = None if None in (known, each.total_s) else max(known or 0.0, each.total_s or 0.0)
            if CASES[case] is Case.ISOLATED:
                bounds = {chosen.friend: bounds[chosen.friend]}
            ends = [accepted_until(run, domain, router, name, began) for name in bounds]
            extra[SPAN.format(case)] = None if None in ends else max((end or 0) - began for end in ends) / NS
            limits = [limit for limit in bounds.values() if limit is not None]
            if len(limits) == len(bounds):
                extra[f"bound, {case}, s"] = max(limits)
            domain = edit.remove_router(domain, router)
        moments = [event["t"] for event in run.where("fault", "router_remove")]
        extra |= multicast.series(run, {self.begin: Phase(moments[0], frozenset({chosen.first}), until=moments[1])})
        asked = requests.at_dks(run, 0)
        return Measures(
            main_s=extra[SPAN.format("DKS reachable")],
            adjacencies=adjacency.at_end(topology, run.events),
            dks=RequestCounts(asked.total, asked.unique),
            extra=extra,
        )

    def judge(self, table: Table) -> list[Criterion]:
        criteria = []
        for case in CASES:
            pairs = [
                (run.extra[SPAN.format(case)], run.extra.get(f"bound, {case}, s"))
                for run in table.measures.get("lks", ())
            ]
            ok = bool(pairs) and all(_within(*pair) for pair in pairs)
            worst = "never" if any(seen is None for seen, _ in pairs) else f"{_most(seen for seen, _ in pairs):.3f} s"
            value = f"{worst} against {_most(limit for _, limit in pairs):.3f} s"
            criteria.append(Criterion("lks", f"{case}: accepted by no router beyond the bound", value, ok))
        return criteria

    def findings(self, table: Table) -> list[str]:
        runs = table.measures.get("lks", ())
        said = [f"{case} {_most(run.extra[SPAN.format(case)] for run in runs):.3f} s" for case in CASES]
        return [f"The longest time for which a router accepted a removed one: {', '.join(said)}."]


def _within(seen: float | None, limit: float | None) -> bool:
    return seen is not None and limit is not None and seen <= limit


def _most(values: Iterable[float | None]) -> float:
    return max((value for value in values if value is not None), default=float("nan"))


def _domain(run: Run) -> Domain:
    """The domain as the run's Policy Server had it. InputError when the run's options make none."""
    options = run.plan.options if isinstance(run.plan.options, AgentOptions) else AgentOptions()
    settings = options.settings(issuer="lks", local_key_server=True)
    try:
        return domain_of(
            run.plan.topology, keys_of(run.plan.seed), IPv4Address(run.plan.topology.dks.address), settings
        )
    except PolicyError as error:
        raise InputError(str(error), where=str(run.folder)) from error


def accepted_until(run: Run, domain: Domain, removed: str, neighbor: str, since: int) -> int | None:
    """When the neighbour's kernel deleted its last SA from `removed`, in ns; None when it holds one to the end of the
    run. InputError when it never had one: such a run shows nothing."""
    block = domain.router(removed).spi
    held: set[tuple[str, str]] = set()
    last = None
    for event in run.where("agent", "sa", neighbor):
        if event["direction"] != "in" or not block.holds(int(event["spi"], 16)):
            continue
        key = (event["spi"], event["destination"])
        if event["change"] == "removed":
            held.discard(key)
            last = event["t"]
        else:
            held.add(key)
    if last is None and not held:
        raise InputError(f"{neighbor} never heard {removed}", where=str(run.folder))
    if held:
        return None
    return max(last or since, since)
