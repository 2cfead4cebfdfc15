"""Which link of a network says most when it is cut. Knows nothing of cuts."""

from __future__ import annotations

from collections import Counter

import networkx

from testbed.topology.adjacent import live_graph, live_segments
from testbed.topology.paths import segments_between
from testbed.topology.resolved import Topology


def most_used_link(topology: Topology) -> str:
    """The link whose cut shows most: the network hangs together without it, all that its two ends send each other goes
    over it, both ways, and most shortest paths lead over it. Where no link is so, as near to that as there is one.

    A link over which no adjacency comes up is dead before it is cut. No plan is made where all are.
    """
    graph = live_graph(topology)
    bridges = {frozenset(edge) for edge in networkx.bridges(networkx.Graph(graph))}
    parallel = Counter(frozenset(edge[:2]) for edge in graph.edges)
    ways = segments_between(topology)
    uses = Counter(segment for between in ways.values() for segment in between)

    def worth(name: str) -> tuple[bool, bool, int]:
        one, other = ends_of(topology, name)
        around = frozenset({one, other}) not in bridges or parallel[frozenset({one, other})] > 1
        direct = all(ways.get(ends) == frozenset({name}) for ends in ((one, other), (other, one)))
        return around, direct, uses[name]

    return max(live_segments(topology), key=worth)


def ends_of(topology: Topology, link: str) -> tuple[str, str]:
    """The first two routers of a link or LAN."""
    one, other = topology.ends(link)[:2]
    return one.router, other.router
