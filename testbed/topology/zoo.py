"""Imports a graph in GraphML or GML, as the Internet Topology Zoo publishes them.

External nodes (`Internal` 0) and loops are left out, labels become valid names, and coordinates become delays: light in
fibre needs 1 ms for 200 km. Several links between two routers are several links. A node that stands for a link of more
than two ends (`hyperedge` 1) is no router but a LAN. Of a graph in several parts the largest is taken.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import networkx

from testbed.errors import InputError
from testbed.topology.names import from_labels
from testbed.topology.source import LanSource, LinkSource, RouterSource, TopologySource

KM_PER_MS = 200.0
EARTH_RADIUS_KM = 6371.0
MAX_BYTES = 20_000_000


class Shared(NamedTuple):
    """One or more neighbouring nodes of the file that stand for a link of many ends: those, and who is on it."""

    nodes: frozenset[Any]
    members: list[Any]


def read_graph(file: Path) -> TopologySource:
    """The source of the graph in `file`. Raises InputError when it holds none that can be used."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InputError("the file is too large", where=str(file), allowed=f"at most {MAX_BYTES} bytes")
        graph = networkx.read_graphml(file) if file.suffix.lower() == ".graphml" else _read_gml(file)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(file)) from error
    except InputError:
        raise
    except Exception as error:  # the readers raise whatever their parsers raise
        raise InputError(f"no graph can be read: {error}", where=str(file), allowed="GraphML or GML") from error
    plain = networkx.Graph()
    for node, data in graph.nodes(data=True):
        if not _is(data.get("Internal", 1), 0):
            plain.add_node(node, **data)
    inner = [(a, b) for a, b in graph.edges() if a != b and a in plain and b in plain]
    plain.add_edges_from(inner)
    if plain.number_of_edges() == 0:
        raise InputError("the graph has no link between two routers", where=str(file), allowed="a graph with links")
    whole = plain.subgraph(max(networkx.connected_components(plain), key=len))
    shared = _shared(whole, list(plain))
    inside = {node for each in shared for node in each.nodes}
    nodes = [node for node in plain if node in whole and node not in inside]
    pairs = [each.members for each in shared if len(each.members) == 2]
    side_by_side = _side_by_side(inner, graph.is_directed())
    apart = [link for link in plain.edges() for _ in range(side_by_side[frozenset(link)])]
    links = [(a, b) for a, b in [*apart, *pairs] if a in nodes and b in nodes]
    lans = {f"net{number}": each for number, each in enumerate((s for s in shared if len(s.members) > 2), 1)}
    labels = [str(whole.nodes[node].get("label", node)) for node in nodes]
    names = dict(zip(nodes, from_labels(labels, lans), strict=True))
    return TopologySource(
        name=re.sub(r"[^A-Za-z0-9_.-]", "-", file.stem)[:64],
        description=f"imported from {file.name[:100]}{_left_out(graph, plain, whole)}",
        routers={names[node]: RouterSource(at=_position(whole.nodes[node])) for node in nodes},
        links=[
            LinkSource(between=[names[a], names[b]], delay=_delay(whole.nodes[a], whole.nodes[b])) for a, b in links
        ],
        lans={
            name: LanSource(routers=[names[node] for node in each.members], delay=_widest(whole, each.members))
            for name, each in lans.items()
        },
    )


def _is(value: Any, number: int) -> bool:
    return str(value) in (str(number), f"{number}.0")


def _shared(whole: networkx.Graph, order: Sequence[Any]) -> list[Shared]:
    """The links of many ends, in the file's order. Where two such nodes are joined, they are one link."""
    inside = whole.subgraph([node for node in order if node in whole and _is(whole.nodes[node].get("hyperedge", 0), 1)])
    found = []
    for nodes in networkx.connected_components(inside):
        members = {other for node in nodes for other in whole.neighbors(node)} - nodes
        if len(members) > 1:
            found.append(Shared(frozenset(nodes), sorted(members, key=order.index)))
    return sorted(found, key=lambda each: min(map(order.index, each.nodes)))


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


def _side_by_side(links: Iterable[tuple[Any, Any]], directed: bool) -> Counter[frozenset[Any]]:
    """How many links there are between two nodes; a directed file may list every link both ways."""
    found: Counter[frozenset[Any]] = Counter()
    if not directed:
        found.update(frozenset(link) for link in links)
        return found
    for (one, other), count in Counter(links).items():
        pair = frozenset((one, other))
        found[pair] = max(found[pair], count)
    return found


def _plural(what: str, many: int) -> str:
    first, *rest = what.split(" ", 1) if what.startswith("node") else (what,)
    return " ".join([first if many == 1 else f"{first}s", *rest])


def _read_gml(file: Path) -> networkx.Graph:
    text = file.read_text(encoding="utf-8", errors="replace")
    if re.search(r"^\s*multigraph\s+1", text, re.MULTILINE) is None:
        # Parallel links without the mark `multigraph 1` are common.
        text = re.sub(r"graph\s*\[", "graph [\n  multigraph 1", text, count=1)
    return networkx.parse_gml(text.splitlines(), label="id")


def _position(data: dict[str, Any]) -> tuple[float, float] | None:
    try:
        latitude, longitude = float(data["Latitude"]), float(data["Longitude"])
    except (KeyError, ValueError, TypeError):
        return None
    return (latitude, longitude) if abs(latitude) <= 90 and abs(longitude) <= 180 else None


def _delay(one: dict[str, Any], other: dict[str, Any]) -> float | None:
    """Milliseconds of light in fibre along the great circle, None where a position is unknown."""
    a, b = _position(one), _position(other)
    if a is None or b is None:
        return None
    return max(0.1, round(distance_km(a, b) / KM_PER_MS, 2))


def distance_km(one: Sequence[float], other: Sequence[float]) -> float:
    """The great circle between two points of latitude and longitude in degrees (haversine)."""
    (lat1, lon1), (lat2, lon2) = ([math.radians(x) for x in point] for point in (one, other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(half))
