"""Imports a graph in GraphML or GML, as the Internet Topology Zoo publishes them.

Nodes with `Internal` 0 are external, and those with `hyperedge` 1 stand for links of more than two ends. Knows what the
Zoo writes, and not what becomes of it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import networkx

from testbed.errors import InputError
from testbed.topology.imported import octets, position, source_of
from testbed.topology.markup import refuse_entities
from testbed.topology.source import TopologySource


def read_graph(file: Path) -> TopologySource:
    """The source of the graph in `file`. Raises InputError when it holds none that can be used."""
    raw = octets(file)
    try:
        if file.suffix.lower() == ".gml":
            graph = _gml(raw.decode("utf-8", errors="replace"))
        else:
            refuse_entities(raw, file)
            graph = networkx.parse_graphml(raw)
    except InputError:
        raise
    except Exception as error:  # the readers raise whatever their parsers raise
        raise InputError(f"not a readable graph: {error}", where=str(file), allowed="GraphML or GML") from error
    for _node, data in graph.nodes(data=True):
        data["external"] = _is(data.get("Internal", 1), 0)
        data["shared"] = _is(data.get("hyperedge", 0), 1)
        data["position"] = position(data.get("Latitude"), data.get("Longitude"))
    return source_of(graph, file)


def _is(value: Any, number: int) -> bool:
    return str(value) in (str(number), f"{number}.0")


def _gml(text: str) -> networkx.Graph:
    if re.search(r"^\s*multigraph\s+1", text, re.MULTILINE) is None:
        # Parallel links without the mark `multigraph 1` are common.
        text = re.sub(r"graph\s*\[", "graph [\n  multigraph 1", text, count=1)
    return networkx.parse_gml(text.splitlines(), label="id")
