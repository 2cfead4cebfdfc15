"""Imports a graph in GraphML or GML, as the Internet Topology Zoo publishes them.

External nodes (`Internal` 0) and loops are left out, several links between two routers become one, labels become
valid names, and coordinates become delays: light in fibre needs 1 ms for 200 km. Of a graph in several parts the
largest is taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx

from testbed.errors import InputError
from testbed.topology.check import RESERVED
from testbed.topology.source import LinkSource, RouterSource, TopologySource

KM_PER_MS = 200.0
EARTH_RADIUS_KM = 6371.0
MAX_BYTES = 20_000_000


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
        if str(data.get("Internal", 1)) not in ("0", "0.0"):
            plain.add_node(node, **data)
    inner = [(a, b) for a, b in graph.edges() if a != b and a in plain and b in plain]
    plain.add_edges_from(inner)
    if plain.number_of_edges() == 0:
        raise InputError("the graph has no link between two routers", where=str(file), allowed="a graph with links")
    whole = plain.subgraph(max(networkx.connected_components(plain), key=len))
    nodes = [node for node in plain if node in whole]
    names = _names(nodes, whole)
    left_out = _left_out(graph, plain, whole, _repeated(inner, graph.is_directed()))
    return TopologySource(
        name=re.sub(r"[^A-Za-z0-9_.-]", "-", file.stem)[:64],
        description=f"imported from {file.name[:100]}{left_out}",
        routers={names[node]: RouterSource(at=_position(whole.nodes[node])) for node in nodes},
        links=[
            LinkSource(between=[names[a], names[b]], delay=_delay(whole.nodes[a], whole.nodes[b]))
            for a, b in plain.edges()
            if a in whole and b in whole
        ],
    )


def _left_out(graph: networkx.Graph, plain: networkx.Graph, whole: networkx.Graph, repeated: int) -> str:
    """What of the file is not in the topology, in words."""
    counts = {
        "external node": graph.number_of_nodes() - plain.number_of_nodes(),
        "repeated link": repeated,
        "loop": sum(a == b for a, b in graph.edges()),
        "node apart from the largest part": plain.number_of_nodes() - whole.number_of_nodes(),
    }
    said = [f"{many} {_plural(what, many)}" for what, many in counts.items() if many]
    return f"; left out: {', '.join(said)}" if said else ""


def _repeated(links: list[tuple[Any, Any]], directed: bool) -> int:
    """How many links there are beside the first between two nodes; a directed file lists every link both ways."""
    return len(links) - len(set(links) if directed else {frozenset(link) for link in links})


def _plural(what: str, many: int) -> str:
    first, *rest = what.split(" ", 1) if what.startswith("node") else (what,)
    return " ".join([first if many == 1 else f"{first}s", *rest])


def _read_gml(file: Path) -> networkx.Graph:
    text = file.read_text(encoding="utf-8", errors="replace")
    if re.search(r"^\s*multigraph\s+1", text, re.MULTILINE) is None:
        # Parallel links without the mark `multigraph 1` are common; they become one link anyway.
        text = re.sub(r"graph\s*\[", "graph [\n  multigraph 1", text, count=1)
    return networkx.parse_gml(text.splitlines(), label="id")


def _names(nodes: list[Any], graph: networkx.Graph) -> dict[Any, str]:
    """Valid, different names of at most 8 characters made from the labels."""
    names: dict[Any, str] = {}
    used = set(RESERVED)
    for number, node in enumerate(nodes, 1):
        label = str(graph.nodes[node].get("label", node))
        base = re.sub(r"[^A-Za-z0-9]", "", label.encode("ascii", "ignore").decode())[:8]
        name = base if base[:1].isalpha() else f"n{number}"
        if name in used:
            name = f"{name[: 8 - len(str(number))]}{number}"
        while name in used:
            number += 1
            name = f"n{number}"
        used.add(name)
        names[node] = name
    return names


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
