"""Which router is the rendezvous point where nobody named one, and what shortest paths cost.

The most central router: the one that the others reach at the least cost. Costs are OSPF's, added up over the
adjacencies that come up, over all areas alike. Knows nothing of PIM's messages nor of records.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush

from testbed.topology.adjacent import transits
from testbed.topology.resolved import Topology

Costs = dict[str, dict[str, int]]


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
    found: dict[str, int] = {}
    heap = [(0, source)]
    while heap:
        cost, node = heappop(heap)
        if node in found:
            continue
        found[node] = cost
        for other, more in steps[node]:
            if other not in found:
                heappush(heap, (cost + more, other))
    return {name: cost for name, cost in found.items() if name in topology.routers}


def central(topology: Topology) -> str:
    """The router that most others reach; of those the one with the least sum of their costs; then by name."""
    reached, total = _sums(topology)
    return min(topology.routers, key=lambda name: (-reached[name], total[name], name))


def reason(topology: Topology) -> str:
    """Why the topology's rendezvous point is that. "" without PIM."""
    if topology.pim is None:
        return ""
    if not topology.pim.chosen:
        return "named by the topology"
    _reached, total = _sums(topology)
    return (
        f"the most central router: the OSPF costs from all others to it add up to {total[topology.pim.rp]}, the least"
    )


def _sums(topology: Topology) -> tuple[Counter[str], Counter[str]]:
    """Of each router how many reach it, and at what cost in all."""
    reached: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for found in costs(topology).values():
        reached.update(found.keys())
        total.update(found)
    return reached, total
