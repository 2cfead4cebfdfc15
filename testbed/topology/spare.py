"""Links that a network hangs together without: those that a story can add later."""

from __future__ import annotations

import networkx

from testbed.errors import InputError
from testbed.topology.resolved import Topology


def spare_links(topology: Topology, count: int) -> list[str]:
    """So many links between two routers, by name, without all of which every router still reaches every other.
    InputError for a network that has fewer."""
    graph = networkx.MultiGraph()
    graph.add_nodes_from(topology.routers)
    links: dict[str, tuple[str, str]] = {}
    for name, segment in topology.segments.items():
        ends = [end.router for end in topology.ends(name)]
        if segment.kind == "p2p" and len(ends) == 2:
            links[name] = (ends[0], ends[1])
        graph.add_edges_from((ends[0], other, name) for other in ends[1:])
    names: list[str] = []
    for name, (a, b) in links.items():
        if len(names) == count:
            break
        graph.remove_edge(a, b, name)
        if networkx.is_connected(graph):
            names.append(name)
        else:
            graph.add_edge(a, b, name)
    if len(names) < count:
        raise InputError(
            f"it stays connected without {len(names)} of its links, but not without {count}",
            where=f"topology {topology.name}", allowed="for example grid:3x3 or abilene",
        )  # fmt: skip
    return names
