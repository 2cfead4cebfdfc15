"""What must hold of a topology as a graph: it hangs together, and so do its OSPF areas around the backbone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import networkx

from testbed.topology.findings import Findings, some
from testbed.topology.parts import area_of, areas_of
from testbed.topology.source import TopologySource

Wire = tuple[Sequence[str], int, tuple[Any, ...]]


def check_graph(source: TopologySource, routers: list[str], findings: Findings) -> None:
    """Of a source whose names are all known."""
    graph = networkx.Graph()
    graph.add_nodes_from(routers)
    for members, _, _ in _wires(source):
        graph.add_edges_from((members[0], other) for other in members[1:])
    parts = sorted(networkx.connected_components(graph), key=len, reverse=True)
    if len(parts) > 1:
        most, apart = parts[0], [name for name in routers if name not in parts[0]]
        findings.wrong(
            f"the routers are not all connected: {some(apart)} cannot reach {some(n for n in routers if n in most)}",
            *(("routers", apart[0]) if apart[0] in source.routers else ("links",)),
            allowed="one connected network",
        )
    else:
        _areas(source, routers, findings)


def _areas(source: TopologySource, routers: list[str], findings: Findings) -> None:
    """Several areas meet in the backbone, and each is one piece (RFC 2328 §3.1; virtual links are not offered)."""
    pieces: dict[int, networkx.Graph] = {}
    first: dict[int, tuple[Any, ...]] = {}
    for members, area, path in _wires(source):
        first.setdefault(area, path)
        pieces.setdefault(area, networkx.Graph()).add_edges_from((members[0], other) for other in members[1:])
    if len(pieces) < 2:
        return
    for area, graph in pieces.items():
        if not networkx.is_connected(graph):
            findings.wrong(f"area {area} is in several pieces", *first[area], allowed="areas that are each connected")
    if 0 not in pieces:
        findings.wrong("there are several areas, but no area 0", "links", allowed="a backbone: links with area: 0")
    for router in routers:
        areas = areas_of(source, router)
        if len(areas) > 1 and 0 not in areas:
            findings.wrong(
                f"router {router!r} joins areas {', '.join(map(str, areas))}",
                *next(path for members, area, path in _wires(source) if router in members and area == areas[1]),
                allowed="area 0 among them",
            )


def _wires(source: TopologySource) -> Iterator[Wire]:
    for index, link in enumerate(source.links):
        yield link.between, area_of(source, link), ("links", index)
    for name, lan in source.lans.items():
        yield lan.routers, area_of(source, lan), ("lans", name)
