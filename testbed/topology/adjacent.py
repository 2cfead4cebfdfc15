"""Which OSPF adjacencies of a topology come up, and what keeps the others down (RFC 2328 §9.4, §10.5 and §10.6).

Knows what is configured at the ends and what the wire does, and nothing of records or of paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

import networkx

from testbed.topology.resolved import Adjacency, Interface, Segment, Topology

ALL_LOST = 100.0
# What an area's type says in the options of a Hello: external routes (E), type-7 routes (N). Both ends must agree.
_OPTIONS = {"normal": "E", "stub": "", "totally-stubby": "", "nssa": "N", "totally-nssa": "N"}


@dataclass(frozen=True)
class Hindrance:
    """What keeps adjacencies of a segment down, and what will be seen of it."""

    segment: str
    problem: str


def area_type(topology: Topology, interface: Interface) -> str:
    """What the interface's router takes its area for."""
    return topology.routers[interface.router].area_types.get(interface.area, "normal")


def transits(topology: Topology, segment: Segment, unlit: Set[Interface] = frozenset()) -> list[frozenset[Interface]]:
    """The interfaces on a segment between which OSPF routes: all of a set with each other, and with nobody else.

    None is in a set that speaks alone. `unlit` are without carrier. On a LAN the designated router is taken to be the
    one that wins when all boot together; it decides only where MTUs differ.
    """
    if segment.kind == "stub" or segment.loss_percent >= ALL_LOST:
        return []
    speaking: dict[str, list[Interface]] = {}
    for interface in speakers(topology, segment):
        if interface not in unlit:
            speaking.setdefault(_OPTIONS[area_type(topology, interface)], []).append(interface)
    sets = (_with_designated(topology, each) if segment.kind == "lan" else _alike(each) for each in speaking.values())
    return [frozenset(each) for each in sets if len(each) > 1]


def speakers(topology: Topology, segment: Segment) -> list[Interface]:
    """The interfaces on a segment on which OSPF speaks."""
    return [end for end in topology.ends(segment.name) if not end.passive]


def _alike(ends: list[Interface]) -> list[Interface]:
    """Both ends of a link, if their MTUs agree: a router rejects Database Descriptions larger than its own allows."""
    return ends if len({end.mtu for end in ends}) == 1 else []


def _with_designated(topology: Topology, ends: list[Interface]) -> list[Interface]:
    designated = _designated(topology, ends)
    return [] if designated is None else [end for end in ends if end.mtu == designated.mtu]


def _designated(topology: Topology, ends: Iterable[Interface]) -> Interface | None:
    eligible = [end for end in ends if end.priority > 0]
    rank = {end: (end.priority, topology.routers[end.router].router_id) for end in eligible}
    return max(eligible, key=rank.__getitem__, default=None)


def adjacencies(topology: Topology, router: str) -> list[Adjacency]:
    """Of a router's neighbours those with which it routes, in the order of its interfaces."""
    joined: dict[str, list[frozenset[Interface]]] = {}
    pairs = []
    for each in topology.neighbors(router):
        segment = topology.segments[each.interface.segment]
        sets = joined.setdefault(segment.name, transits(topology, segment))
        if any({each.interface, each.neighbor_interface} <= together for together in sets):
            pairs.append(each)
    return pairs


def hindrances(topology: Topology) -> Iterator[Hindrance]:
    """All that keeps adjacencies down, segment by segment, in the words of what will be seen."""
    for segment in topology.segments.values():
        if segment.kind != "stub":
            for problem in _problems(topology, segment):
                yield Hindrance(segment.name, problem)


def live_graph(topology: Topology) -> networkx.MultiGraph:
    """As `Topology.graph`, without the edges over which no adjacency comes up."""
    live = {
        (name, each.neighbor_router, each.interface.segment)
        for name in topology.routers
        for each in adjacencies(topology, name)
    }
    graph = topology.graph()
    dead = [edge for edge in graph.edges(keys=True, data="segment") if (edge[0], edge[1], edge[3]) not in live]
    graph.remove_edges_from([edge[:3] for edge in dead])
    return graph


def live_segments(topology: Topology) -> list[str]:
    """Those over which an adjacency comes up, in the topology's order."""
    live = {segment for _one, _other, segment in live_graph(topology).edges(data="segment")}
    return [name for name in topology.segments if name in live]


def apart(topology: Topology) -> list[list[str]]:
    """The routers in the parts that the adjacencies which come up leave, the largest first. One part is the rule."""
    components = networkx.connected_components(live_graph(topology))
    return sorted(([name for name in topology.routers if name in part] for part in components), key=len, reverse=True)


def _problems(topology: Topology, segment: Segment) -> Iterator[str]:
    members = topology.ends(segment.name)
    speaking = speakers(topology, segment)
    if segment.loss_percent >= ALL_LOST:
        yield "loses every packet: it is dead from the start, no adjacency forms and no data passes"
        return
    silent = [end for end in members if end.passive]
    if silent and speaking:
        said = f"passive at {_names(silent)} only"
        yield f"{said}: nobody there answers the Hellos of {_names(speaking)}, no adjacency forms"
    types = {end.router: area_type(topology, end) for end in speaking}
    groups: dict[str, list[Interface]] = {}
    for end in speaking:
        groups.setdefault(_OPTIONS[types[end.router]], []).append(end)
    if len(groups) > 1:
        said = ", ".join(f"{name} takes area {speaking[0].area} for {kind}" for name, kind in types.items())
        yield f"{said}: their Hellos differ in the area's type and are rejected, so no adjacency forms between them"
    for ends in groups.values():
        if len(ends) < 2:
            continue
        if segment.kind == "lan" and all(end.priority == 0 for end in ends):
            yield (
                f"priority 0 on all of {_names(ends)}: no router becomes designated, neighbours stay in 2-Way, "
                "no adjacency forms and no route leads over it"
            )
        elif len({end.mtu for end in ends}) > 1:
            yield _mtus(topology, segment, ends)


def _mtus(topology: Topology, segment: Segment, ends: list[Interface]) -> str:
    said = ", ".join(f"{end.mtu} at {end.router}" for end in ends)
    stuck = "OSPF stays in ExStart and Exchange, since Database Descriptions of the larger MTU are rejected"
    designated = _designated(topology, ends)
    if segment.kind != "lan" or designated is None:
        return f"MTU {said}: {stuck}; no adjacency forms"
    others = _names(end for end in ends if end.mtu != designated.mtu)
    return f"MTU {said}: with {designated.router} as designated router {others} cannot join; {stuck}"


def _names(ends: Iterable[Interface]) -> str:
    return ", ".join(end.router for end in ends)
