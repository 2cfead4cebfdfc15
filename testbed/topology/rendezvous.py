"""Whether PIM runs where nobody said so, which router is then the rendezvous point, and what shortest paths cost.

The most central router: the one that the others reach at the least cost. Costs are OSPF's, added up over the
adjacencies that come up, over all areas alike. Knows nothing of PIM's messages nor of records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from heapq import heappop, heappush

from testbed.topology.adjacent import transits
from testbed.topology.resolved import Topology

Costs = dict[str, dict[str, int]]
MOST_INTERFACES = 29
"""A Linux router forwards multicast between 32 (MAXVIFS of linux/mroute.h): pimd's own, the loopback and the carrier of
the router's receivers are three of them."""


def costs(topology: Topology) -> Costs:
    """What the cheapest path from each router to each that it reaches costs; 0 to itself."""
    steps: dict[str, list[tuple[str, int]]] = {name: [] for name in topology.routers}
    for segment in topology.segments.values():
        for number, together in enumerate(transits(topology, segment)):
            # It costs what the sender's interface costs, and nothing to leave it. No router is called so.
            middle = f"{segment.name}\n{number}"
            steps[middle] = [(end.router, 0) for end in together]
            for end in together:
                steps[end.router].append((middle, end.cost))
    return {name: _from(name, steps, topology) for name in topology.routers}


def _from(source: str, steps: dict[str, list[tuple[str, int]]], topology: Topology) -> dict[str, int]:
    """Dijkstra's algorithm."""
    distances: dict[str, int] = {}
    heap = [(0, source)]
    while heap:
        cost, node = heappop(heap)
        if node in distances:
            continue
        distances[node] = cost
        for other, more in steps[node]:
            if other not in distances:
                heappush(heap, (cost + more, other))
    return {name: cost for name, cost in distances.items() if name in topology.routers}


def hindrance(topology: Topology) -> str | None:
    """Why PIM does not run here unless somebody names a rendezvous point; None when it does."""
    if not topology.ospf.v2:
        return "it needs IPv4 routes, and OSPFv2 does not run"
    return crowded(
        {
            name: sum(each.segment != topology.dks.segment for each in router.interfaces)
            for name, router in topology.routers.items()
        }
    )


def crowded(interfaces: Mapping[str, int]) -> str | None:
    """Which router has more interfaces than it can forward multicast between."""
    for name, many in interfaces.items():
        if many > MOST_INTERFACES:
            return f"{name} has {many} interfaces, and Linux forwards multicast between {MOST_INTERFACES} of a router"
    return None


def central(topology: Topology) -> str:
    """The router that most others reach; of those the one with the least sum of their costs; then by name."""
    reached, total = _sums(topology)
    return min(topology.routers, key=lambda name: (-reached[name], total[name], name))


def reason(topology: Topology) -> str:
    """Why PIM has this rendezvous point, or why it does not run."""
    if topology.pim is None:
        return hindrance(topology) or "the topology says so"
    if not topology.pim.chosen:
        return "the topology names it"
    reached, total = _sums(topology)
    others, cost = reached[topology.pim.rp] - 1, total[topology.pim.rp]
    who = "all others" if others == len(topology.routers) - 1 else f"{others} others, which only it reaches,"
    return f"it is the most central router: OSPF costs from {who} to it add up to {cost}"


def _sums(topology: Topology) -> tuple[Counter[str], Counter[str]]:
    """Of each router how many reach it, and at what cost in all."""
    reached: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for distances in costs(topology).values():
        reached.update(distances.keys())
        total.update(distances)
    return reached, total
