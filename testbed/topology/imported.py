"""Turns a graph that somebody published into a source: names from labels, delays from distances, and what is left out.

Several links between two routers are several links. A node may stand for a link of more than two ends: it is no router
but a LAN. Of a graph in several parts the largest is taken. Knows no file format: nodes may have `label`, `position`
(latitude, longitude), `at` (the same, for drawings alone), `external` and `shared`, and links `delay` (ms).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import networkx

from testbed.errors import InputError
from testbed.topology.names import from_labels, of_file
from testbed.topology.source import LanSource, LinkSource, RouterSource, TopologySource

MS_PER_KM = 0.0049
"""Light in fibre (refractive index 1.468)."""
LEAST_MS = 0.001
LEAST_BETWEEN_PLACES_MS = 0.1
"""Coordinates are those of towns, and routers in one town are not at one point."""
EARTH_RADIUS_KM = 6371.0
MAX_BYTES = 20_000_000


class _Shared(NamedTuple):
    """One or more neighbouring nodes of the file that stand for a link of many ends: those, and who is on it."""

    nodes: frozenset[Any]
    members: list[Any]


def octets(file: Path) -> bytes:
    """What is in a file. Raises InputError when it cannot be read or is too large."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InputError("the file is too large", where=str(file), allowed=f"at most {MAX_BYTES} bytes")
        return file.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(file), next_command="lab topology list"
        ) from error


def source_of(graph: networkx.Graph, file: Path, about: str = "") -> TopologySource:
    """The source of a graph. `about`: what else is to be said of it. InputError when it has no link of two routers."""
    plain = networkx.Graph()
    plain.add_nodes_from((node, data) for node, data in graph.nodes(data=True) if not data.get("external"))
    inner = [(a, b, data) for a, b, data in graph.edges(data=True) if a != b and a in plain and b in plain]
    plain.add_edges_from((a, b) for a, b, _data in inner)
    if plain.number_of_edges() == 0:
        raise InputError("the graph has no link between two routers", where=str(file), allowed="a graph with links")
    whole = plain.subgraph(max(networkx.connected_components(plain), key=len))
    shared = _shared(whole, list(plain))
    inside = {node for each in shared for node in each.nodes}
    nodes = [node for node in plain if node in whole and node not in inside]
    side_by_side = _side_by_side(inner, graph.is_directed())
    apart = [(*ends, data) for ends in plain.edges() for data in side_by_side[frozenset(ends)]]
    links = [*apart, *((*each.members, {}) for each in shared if len(each.members) == 2)]
    lans = {f"net{number}": each for number, each in enumerate((s for s in shared if len(s.members) > 2), 1)}
    labels = [str(whole.nodes[node].get("label", node)) for node in nodes]
    names = dict(zip(nodes, from_labels(labels, lans), strict=True))
    return TopologySource(
        name=of_file(file.stem),
        description=f"imported from {file.name[:100]}{_left_out(graph, plain, whole)}{about and f'; {about}'}",
        routers={names[node]: RouterSource(at=_at(whole.nodes[node])) for node in nodes},
        links=[
            LinkSource(between=[names[a], names[b]], delay=data.get("delay", _delay(whole.nodes[a], whole.nodes[b])))
            for a, b, data in links
            if a in names and b in names
        ],
        lans={
            name: LanSource(routers=[names[node] for node in each.members], delay=_widest(whole, each.members))
            for name, each in lans.items()
        },
    )


def _shared(whole: networkx.Graph, order: Sequence[Any]) -> list[_Shared]:
    """The links of many ends, in the file's order. Where two such nodes are joined, they are one link."""
    inside = whole.subgraph([node for node in order if node in whole and whole.nodes[node].get("shared")])
    lans = []
    for nodes in networkx.connected_components(inside):
        members = {other for node in nodes for other in whole.neighbors(node)} - nodes
        if len(members) > 1:
            lans.append(_Shared(frozenset(nodes), sorted(members, key=order.index)))
    return sorted(lans, key=lambda each: min(map(order.index, each.nodes)))


def _widest(whole: networkx.Graph, members: Sequence[Any]) -> float | None:
    """The delay between the two ends of a shared link that are furthest apart, of those whose places are known."""
    delays = [_delay(whole.nodes[a], whole.nodes[b]) for a, b in combinations(members, 2)]
    return max((each for each in delays if each is not None), default=None)


def _left_out(graph: networkx.Graph, plain: networkx.Graph, whole: networkx.Graph) -> str:
    """What of the file is not in the topology, in words."""
    counts = {
        "external node": graph.number_of_nodes() - plain.number_of_nodes(),
        "loop": sum(a == b for a, b in graph.edges()),
        "node apart from the largest part": plain.number_of_nodes() - whole.number_of_nodes(),
    }
    said = [f"{many} {_plural(what, many)}" for what, many in counts.items() if many]
    return f"; left out: {', '.join(said)}" if said else ""


def _side_by_side(
    links: Iterable[tuple[Any, Any, Mapping[str, Any]]], directed: bool
) -> dict[frozenset[Any], list[Mapping[str, Any]]]:
    """The links between each two nodes; a directed file may list every link both ways, so that one way is enough."""
    ways: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
    for one, other, data in links:
        ways.setdefault((one, other) if directed or (other, one) not in ways else (other, one), []).append(data)
    parallel: dict[frozenset[Any], list[Mapping[str, Any]]] = {}
    for way, held in ways.items():
        parallel[frozenset(way)] = max(parallel.get(frozenset(way), []), held, key=len)
    return parallel


def _plural(what: str, many: int) -> str:
    first, *rest = what.split(" ", 1) if what.startswith("node") else (what,)
    return " ".join([first if many == 1 else f"{first}s", *rest])


def position(latitude: Any, longitude: Any) -> tuple[float, float] | None:
    """A place on earth from what a file says of it, None when it says nothing that is one."""
    try:
        point = float(latitude), float(longitude)
    except (ValueError, TypeError):
        return None
    return point if abs(point[0]) <= 90 and abs(point[1]) <= 180 else None


def on_a_map(points: Mapping[Any, tuple[float, float]]) -> dict[Any, tuple[float, float]]:
    """Points (x, y) of a drawing as latitudes and longitudes that draw the same, north up."""
    largest = max((abs(value) for point in points.values() for value in point), default=0.0) or 1.0
    return {key: (round(80 * y / largest, 4), round(80 * x / largest, 4)) for key, (x, y) in points.items()}


def _at(data: Mapping[str, Any]) -> tuple[float, float] | None:
    return data.get("position") or data.get("at")


def _delay(one: Mapping[str, Any], other: Mapping[str, Any]) -> float | None:
    """Milliseconds of light in fibre along the great circle, None where a place is unknown."""
    a, b = one.get("position"), other.get("position")
    return None if a is None or b is None else max(LEAST_BETWEEN_PLACES_MS, delay_of(distance_km(a, b)))


def delay_of(km: float) -> float:
    """Milliseconds of light in so much fibre."""
    return max(LEAST_MS, round(km * MS_PER_KM, 3))


def distance_km(one: Sequence[float], other: Sequence[float]) -> float:
    """The great circle between two points of latitude and longitude in degrees (haversine)."""
    (lat1, lon1), (lat2, lon2) = ([math.radians(x) for x in point] for point in (one, other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(half))
