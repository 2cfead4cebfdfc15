"""Imports a graph in JSON's node-link form, as TopoHub publishes them: names, positions, and lengths of links in km.

A position is longitude and latitude in degrees, or a point of a drawing where one is beyond those. A link without a
length gets one from the positions on earth. Knows what TopoHub writes, and not what becomes of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx

from testbed.errors import InputError, Location
from testbed.topology.findings import nearest
from testbed.topology.imported import delay_of, octets, on_a_map, position, source_of
from testbed.topology.source import TopologySource

MAX_KM = 2_000_000.0
"""Light in fibre takes just under 10 s, the longest delay of a link."""
FORM = (
    '{"nodes": [{"id": "0", "name": "Oslo", "pos": [10.75, 59.91]}, …], '
    '"edges": [{"source": "0", "target": "1", "dist": 305.0}, …]}'
)


def read_graph(file: Path) -> TopologySource:
    """The source of the graph in `file`. Raises InputError when it holds none that can be used."""
    data = _json(octets(file), file)
    if not isinstance(data, dict) or not isinstance(data.get("nodes"), list):
        raise InputError("not a graph in node-link form", where=str(file), allowed=FORM)
    # networkx called them links before its version 3.4.
    key = "edges" if "edges" in data else "links"
    if not isinstance(data.get(key), list):
        raise InputError("has no list of edges", where=str(file), allowed=FORM)
    graph: networkx.Graph = networkx.MultiDiGraph() if data.get("directed") is True else networkx.MultiGraph()
    for number, node in enumerate(data["nodes"]):
        name = _id(node, "id", f"nodes.{number}", file)
        if name in graph:
            raise InputError(f"nodes.{number}: a second node {name!r}", where=str(file), allowed="each id once")
        graph.add_node(name, label=_label(node, name), point=_point(node, f"nodes.{number}", file))
    for number, edge in enumerate(data[key]):
        path = f"{key}.{number}"
        ends = [_id(edge, end, path, file) for end in ("source", "target")]
        for end in ends:
            if end not in graph:
                raise InputError(
                    f"{path}: unknown node {end!r}{nearest(end, graph)}", where=str(file), allowed="the id of a node"
                )
        graph.add_edge(*ends, **_length(edge, path, file))
    _put_on_the_map(graph)
    return source_of(graph, file)


def _json(raw: bytes, file: Path) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        where = Location(file, error.lineno, error.colno)
        raise InputError(f"not JSON: {error.msg}", where=where, allowed=FORM) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", where=str(file), allowed="JSON in UTF-8") from error


def _id(held: Any, key: str, path: str, file: Path) -> str:
    value = held.get(key) if isinstance(held, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{path}.{key} is missing, or not the name of a node", where=str(file), allowed=FORM)
    return str(value)


def _label(node: Mapping[str, Any], name: str) -> str:
    value = node.get("name", node.get("label"))
    return value if isinstance(value, str) else name


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _point(node: Mapping[str, Any], path: str, file: Path) -> tuple[float, float] | None:
    value = node.get("pos")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(map(_number, value)):
        raise InputError(f"{path}.pos: bad value {str(value)[:40]}", where=str(file), allowed="[longitude, latitude]")
    return float(value[0]), float(value[1])


def _length(edge: Mapping[str, Any], path: str, file: Path) -> dict[str, float]:
    value = edge.get("dist")
    if value is None:
        return {}
    if not _number(value) or not 0 <= value <= MAX_KM:
        raise InputError(
            f"{path}.dist: bad value {str(value)[:40]!r}", where=str(file), allowed=f"a length from 0 to {MAX_KM:g} km"
        )
    return {"delay": delay_of(value)}


def _put_on_the_map(graph: networkx.Graph) -> None:
    """Positions are places on earth if all of them can be; else they are a drawing."""
    points = {node: point for node, point in graph.nodes(data="point") if point is not None}
    positions = {node: position(latitude, longitude) for node, (longitude, latitude) in points.items()}
    earthly = None not in positions.values()
    for node, spot in (positions if earthly else on_a_map(points)).items():
        graph.nodes[node]["position" if earthly else "at"] = spot
