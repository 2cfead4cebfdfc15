"""Imports a network of SNDlib, from its XML or its native text. Demands, capacities and costs of planning are left out.

Coordinates are longitude and latitude (`coordinatesType` "geographical", and the native form where all can be), or
points of a drawing without a scale. Knows what SNDlib writes, and not what becomes of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import networkx

from testbed.errors import InputError, Location
from testbed.topology.findings import nearest
from testbed.topology.imported import octets, on_a_map, position, source_of
from testbed.topology.markup import Element, parsed
from testbed.topology.source import TopologySource

HEADER = "?SNDlib native format"
NO_SCALE = "its coordinates have no scale, so every link has the default delay"
_TOKEN = re.compile(r"[()]|[^\s()]+")

Point = tuple[float, float]


class _Network:
    """Nodes and links as they are read; each must be there once, with ends that are known."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.graph = networkx.MultiGraph()
        self.points: dict[str, Point] = {}
        self._links: set[str] = set()

    def node(self, name: str, point: Sequence[str | None], line: int) -> None:
        if name in self.graph:
            raise self.wrong(f"a second node {name!r}", line, "each id once")
        self.graph.add_node(name, label=name)
        if any(each is not None for each in point):
            try:
                x, y = (float(each or "") for each in point)
            except ValueError:
                raise self.wrong(f"bad coordinates of node {name!r}", line, "two numbers, x and y") from None
            if not (math.isfinite(x) and math.isfinite(y)):
                raise self.wrong(f"bad coordinates of node {name!r}", line, "two numbers, x and y")
            self.points[name] = x, y

    def link(self, name: str, one: str, other: str, line: int) -> None:
        if name in self._links:
            raise self.wrong(f"a second link {name!r}", line, "each id once")
        for end in (one, other):
            if end not in self.graph:
                raise self.wrong(
                    f"link {name!r}: unknown node {end!r}{nearest(end, self.graph)}", line, "the id of a node"
                )
        self._links.add(name)
        self.graph.add_edge(one, other)

    def source(self, geographical: bool | None) -> TopologySource:
        """`geographical` None: if all coordinates can be."""
        positions = {name: position(y, x) for name, (x, y) in self.points.items()}
        if geographical is None:
            geographical = None not in positions.values()
        drawn = on_a_map(self.points)
        for name in self.points:
            if not geographical:
                self.graph.nodes[name]["at"] = drawn[name]
            elif positions[name] is None:
                x, y = self.points[name]
                raise InputError(
                    f"node {name!r} is at longitude {x:g}, latitude {y:g}", where=str(self.file),
                    allowed="longitude from -180 to 180, latitude from -90 to 90",
                )  # fmt: skip
            else:
                self.graph.nodes[name]["position"] = positions[name]
        return source_of(self.graph, self.file, NO_SCALE if self.points and not geographical else "")

    def wrong(self, problem: str, line: int, allowed: str) -> InputError:
        return InputError(problem, where=Location(self.file, line), allowed=allowed)


def read_xml(file: Path) -> TopologySource:
    """The source of a network in SNDlib's XML. Raises InputError when it holds none that can be used."""
    root = parsed(octets(file), file)
    nodes = root.first("networkStructure", "nodes")
    if root.name != "network" or nodes is None:
        raise InputError(
            f"<{root.name}> is not a network of SNDlib", where=Location(file, root.line),
            allowed="<network> with <networkStructure>, <nodes> and <links>; GraphML files end in .graphml",
        )  # fmt: skip
    network = _Network(file)
    for node in nodes.all("node"):
        point = [_text(node.first("coordinates", axis)) for axis in ("x", "y")]
        network.node(_attribute(network, node, "id"), point, node.line)
    for link in root.all("networkStructure", "links", "link"):
        one, other = (_text(link.first(end)) or "" for end in ("source", "target"))
        network.link(_attribute(network, link, "id"), one, other, link.line)
    return network.source(nodes.attributes.get("coordinatesType", "geographical") == "geographical")


def _text(element: Element | None) -> str | None:
    return None if element is None else element.text.strip()


def _attribute(network: _Network, element: Element, name: str) -> str:
    text = element.attributes.get(name, "").strip()
    if not text:
        raise network.wrong(f"<{element.name}> without {name}", element.line, f'<{element.name} {name}="…">')
    return text


def is_native(file: Path) -> bool:
    """Whether a file begins as SNDlib's native form does."""
    try:
        with open(file, "rb") as opened:
            return opened.read(len(HEADER)).decode("latin-1").startswith(HEADER)
    except OSError:
        return False


def read_native(file: Path) -> TopologySource:
    """The source of a network in SNDlib's native text. Raises InputError when it holds none that can be used."""
    network = _Network(file)
    lines = octets(file).decode("latin-1").splitlines()
    for section, line, words in _entries(lines):
        if section == "NODES":
            if len(words) < 5 or words[1] != "(" or words[4] != ")":
                raise network.wrong("no node", line, "ID ( LONGITUDE LATITUDE )")
            network.node(words[0], words[2:4], line)
        elif section == "LINKS":
            if len(words) < 5 or words[1] != "(" or words[4] != ")":
                raise network.wrong("no link", line, "ID ( SOURCE TARGET ) …")
            network.link(words[0], words[2], words[3], line)
    return network.source(None)


def _entries(lines: Sequence[str]) -> Iterator[tuple[str, int, list[str]]]:
    """Each line of a section, with the section's name and the line's number."""
    section = ""
    for number, text in enumerate(lines, 1):
        words = _TOKEN.findall(text.partition("#")[0])
        if not words or text.startswith("?"):
            continue
        if not section and len(words) == 2 and words[1] == "(":
            section = words[0]
        elif words == [")"]:
            section = ""
        elif section:
            yield section, number, words
