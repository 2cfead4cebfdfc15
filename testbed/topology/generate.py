"""Topologies from a few words: `ring:20`, `grid:4x5`, `waxman:30:seed=1`. The same words, the same topology."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import networkx

from testbed.errors import InputError
from testbed.topology.source import LanSource, LinkSource, RouterSource, TopologySource

FORMS = {
    "line": "line:N",
    "ring": "ring:N",
    "star": "star:N",
    "lan": "lan:N",
    "grid": "grid:ROWSxCOLUMNS",
    "regular": "regular:N:degree=D",
    "waxman": "waxman:N:seed=S",
}
LIMIT = 500
MORE = ":links=L for any except lan:N, for L parallel links in place of each"
MOST_LINKS = 8


def is_generator(spec: str) -> bool:
    return spec.split(":")[0] in FORMS and ":" in spec


def generate(spec: str) -> TopologySource:
    """The source of a generated topology. Raises InputError for words that name none."""
    if side_by_side := re.fullmatch(r"(?!lan:)((?:(?!:links=).)+):links=(\d+)", spec):
        return _side_by_side(spec, generate(side_by_side[1]), int(side_by_side[2]))
    kind, *words = spec.split(":")
    makers: dict[str, Callable[..., TopologySource]] = {"line": _line, "ring": _ring, "star": _star, "lan": _lan}
    if kind == "grid" and len(words) == 1 and (size := re.fullmatch(r"(\d+)x(\d+)", words[0])):
        rows, columns = int(size[1]), int(size[2])
        _bounded(spec, rows * columns, 2)
        return _grid(rows, columns)
    if regular := re.fullmatch(r"regular:(\d+):degree=(\d+)", spec):
        count, degree = int(regular[1]), int(regular[2])
        _bounded(spec, count, 3)
        if not 2 <= degree < count or count * degree % 2:
            allowed = f"2 to {count - 1}, and even with an odd number of routers"
            raise InputError(f"{spec!r} has degree {degree}", allowed=allowed, next_command="lab topology list")
        return _regular(count, degree)
    if kind == "waxman" and words and words[0].isdigit():
        seed = re.fullmatch(r"seed=(\d+)", words[1]) if len(words) == 2 else None
        if len(words) == 1 or seed:
            _bounded(spec, int(words[0]), 3)
            return _waxman(int(words[0]), int(seed[1]) if seed else 1)
    if kind in makers and len(words) == 1 and words[0].isdigit():
        _bounded(spec, int(words[0]), 3 if kind == "ring" else 2)
        return makers[kind](int(words[0]))
    allowed = f"{', '.join(FORMS.values())}; {MORE}"
    raise InputError(f"{spec!r} is not a generator", allowed=allowed, next_command="lab topology list")


def _side_by_side(spec: str, source: TopologySource, count: int) -> TopologySource:
    """The same with so many links for each."""
    if not 1 <= count <= MOST_LINKS:
        raise InputError(
            f"{spec!r} has {count} parallel links", allowed=f"1 to {MOST_LINKS}", next_command="lab topology list"
        )
    links = [link for link in source.links for _ in range(count)]
    text = f"{source.description}, {count} links for each"
    return source.model_copy(update={"links": links, "description": text})


def _bounded(spec: str, routers: int, least: int) -> None:
    if not least <= routers <= LIMIT:
        raise InputError(
            f"{spec!r} has {routers} routers", allowed=f"{least} to {LIMIT}", next_command="lab topology list"
        )


def _names(count: int) -> list[str]:
    return [f"r{number}" for number in range(1, count + 1)]


def _source(routers: list[str], pairs: list[tuple[str, str]], text: str) -> TopologySource:
    return TopologySource(
        description=text,
        routers=dict.fromkeys(routers, RouterSource()),
        links=[LinkSource(between=[one, other]) for one, other in pairs],
    )


def _of_graph(graph: networkx.Graph, names: Mapping[Any, str], text: str) -> TopologySource:
    """Routers in the order of `names`, which are those of the nodes, and links in that of the nodes themselves."""
    pairs = [(names[one], names[other]) for one, other in sorted(tuple(sorted(edge)) for edge in graph.edges)]
    return _source(list(names.values()), pairs, text)


def _line(count: int) -> TopologySource:
    names = _names(count)
    return _source(names, list(pairwise(names)), f"{count} routers in a line")


def _ring(count: int) -> TopologySource:
    names = _names(count)
    return _source(names, list(zip(names, [*names[1:], names[0]], strict=True)), f"{count} routers in a ring")


def _regular(count: int, degree: int) -> TopologySource:
    """A circulant graph: each linked to its nearest on a ring, and to the one opposite where the degree is odd."""
    steps = list(range(1, degree // 2 + 1)) + [count // 2] * (degree % 2)
    names = dict(enumerate(_names(count)))
    text = f"{count} routers in a ring, each with {degree} neighbours"
    return _of_graph(networkx.circulant_graph(count, steps), names, text)


def _star(count: int) -> TopologySource:
    names = _names(count)
    return _source(names, [(names[0], other) for other in names[1:]], f"{count - 1} routers around one")


def _lan(count: int) -> TopologySource:
    names = _names(count)
    return TopologySource(
        description=f"{count} routers on one LAN",
        routers=dict.fromkeys(names, RouterSource()),
        lans={"lan": LanSource(routers=names)},
    )


def _grid(rows: int, columns: int) -> TopologySource:
    graph = networkx.grid_2d_graph(rows, columns)
    names = {node: f"r{node[0] * columns + node[1] + 1}" for node in sorted(graph)}
    return _of_graph(graph, names, f"a grid of {rows} by {columns} routers")


def _waxman(count: int, seed: int) -> TopologySource:
    """Waxman's random graph (1988), alpha 0.4, beta 0.2, made connected by its nearest pairs; delay by distance."""
    chance = random.Random(f"waxman {count} {seed}")
    names = _names(count)
    at = {name: (chance.random(), chance.random()) for name in names}
    graph = networkx.Graph()
    graph.add_nodes_from(names)
    pairs = [(one, other) for index, one in enumerate(names) for other in names[index + 1 :]]
    far = {pair: math.dist(at[pair[0]], at[pair[1]]) for pair in pairs}
    for pair in pairs:
        if chance.random() < 0.4 * math.exp(-far[pair] / (0.2 * math.sqrt(2))):
            graph.add_edge(*pair)
    for pair in sorted(pairs, key=lambda pair: far[pair]):
        if not networkx.has_path(graph, *pair):
            graph.add_edge(*pair)
    edges = [pair for pair in pairs if graph.has_edge(*pair)]
    return TopologySource(
        description=f"Waxman's random graph of {count} routers, seed {seed}",
        routers={name: RouterSource(at=(round(50 * at[name][1], 3), round(50 * at[name][0], 3))) for name in names},
        links=[LinkSource(between=list(pair), delay=round(20 * far[pair], 2)) for pair in edges],
    )
