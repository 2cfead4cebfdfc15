"""Draws a topology with matplotlib; the same topology gives the same octets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.errors import InputError
from testbed.topology.labels import Box, arranged
from testbed.topology.resolved import Topology

if TYPE_CHECKING:
    import networkx
    from matplotlib.axes import Axes
    from matplotlib.text import Text

Positions = dict[str, tuple[float, float]]

FORMATS = (".svg", ".png", ".pdf")
# With more wires than this, words on them would only hide them.
MOST_LABELS = 50
BEND = 0.3
"""Between two links side by side, as a part of their length."""
ROOM = 9
"""Characters that stand in a router's circle; with a longer name, all stand beside small circles."""
LINE = 18
"""Characters in a line of a long name, where it can be broken."""
NODES = 15
"""More nodes with long names than this need more paper."""
STRESS_ROUNDS = 300
"""After these nothing moves any more that could be seen."""


def draw(topology: Topology, output: Path) -> None:
    """Write the drawing: circles are routers, squares LANs, and the router with the DKS is filled.

    Raises InputError for a name that names no format, or a file that cannot be written.
    """
    kind = output.suffix.lower()
    if kind not in FORMATS:
        raise InputError(f"{output.name!r} names no format", allowed=", ".join(FORMATS))
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "router-keys"
    import networkx
    from matplotlib import pyplot

    graph = _graph(topology)
    positions = _positions(topology, graph)
    routers = [node for node in graph if node in topology.routers]
    fills = ["#f2b134" if node == topology.dks.router else "white" for node in routers]
    beside = any(len(node) > ROOM for node in graph)
    paper = max(1.0, (len(graph) / NODES) ** 0.5) if beside else 1.0
    figure, axes = pyplot.subplots(figsize=(9 * paper, 6 * paper))
    alone = [(one, other) for one, other in graph.edges() if graph.number_of_edges(one, other) == 1]
    networkx.draw_networkx_edges(graph, positions, edgelist=alone, ax=axes, edge_color="0.6", arrows=False)
    labelled = graph.number_of_edges() <= MOST_LABELS
    words = _side_by_side(graph, positions, axes, labelled)
    size = 130 if beside else 1100
    networkx.draw_networkx_nodes(
        graph, positions, nodelist=routers, ax=axes, node_color=fills, edgecolors="black", node_size=size
    )
    lans = [node for node in graph if node not in topology.routers]
    size = 130 if beside else 800
    networkx.draw_networkx_nodes(
        graph, positions, nodelist=lans, ax=axes, node_color="0.9", edgecolors="0.4", node_size=size, node_shape="s"
    )
    if not beside:
        networkx.draw_networkx_labels(graph, positions, ax=axes, font_size=6.5)
    if labelled:
        delays = {
            (one, other): f"{ms:g} ms"
            for one, other, ms in graph.edges(data="delay_ms")
            if ms is not None and graph.number_of_edges(one, other) == 1
        }
        straight = networkx.draw_networkx_edge_labels(graph, positions, delays, ax=axes, font_size=5, font_color="0.35")
        words += straight.values()
    if beside:
        _names_beside(axes, positions, words)
    axes.set_title(f"{topology.name} (filled: the DKS is behind it)", fontsize=8)
    axes.set_axis_off()
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(kind)
    try:
        figure.savefig(output, bbox_inches="tight", dpi=150, metadata=metadata)
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror}", where=str(output), allowed="a file in a folder that exists"
        ) from error
    finally:
        pyplot.close(figure)


def _names_beside(axes: Axes, positions: Positions, words: list[Text]) -> None:
    """The nodes' names where nothing else stands, with a line to the node where that is far."""
    figure = axes.figure
    figure.canvas.draw()
    dot = figure.dpi / 72
    white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
    texts = [
        axes.text(*positions[node], _in_lines(node), fontsize=6.5, ha="center", va="center", zorder=5, bbox=white)
        for node in positions
    ]
    sizes = [(box.width + 2 * dot, box.height + 2 * dot) for box in (text.get_window_extent() for text in texts)]
    points = [(float(x), float(y)) for x, y in axes.transData.transform(list(positions.values()))]
    taken = [Box(*word.get_window_extent().extents) for word in words]
    back = axes.transData.inverted()
    for text, (x, y), (width, height), center in zip(
        texts, points, sizes, arranged(points, sizes, 8 * dot, taken), strict=True
    ):
        across, up = back.transform(center)
        text.set_position((float(across), float(up)))
        if abs(center[0] - x) > width / 2 + 12 * dot or abs(center[1] - y) > height / 2 + 12 * dot:
            axes.plot(*zip(back.transform((x, y)), (across, up), strict=True), color="0.3", lw=0.4, zorder=0.5)


def _side_by_side(graph: networkx.MultiGraph, positions: Positions, axes: Axes, labelled: bool) -> list[Text]:
    """Links between the same two routers: bent, so that each is seen, with their numbers, which are given back."""
    import networkx

    drawn: list[Text] = []
    for one, other, number in graph.edges(keys=True):
        count = graph.number_of_edges(one, other)
        if count == 1:
            continue
        bend = f"arc3,rad={BEND * (number - (count - 1) / 2):g}"
        style: dict[str, Any] = {"ax": axes, "connectionstyle": bend, "node_size": 130}
        networkx.draw_networkx_edges(
            graph, positions, [(one, other, number)], arrows=True, arrowstyle="-", edge_color="0.6", **style
        )
        if labelled:
            words = f"{'' if number == 0 else f'#{number + 1}: '}{graph.edges[one, other, number]['delay_ms']:g} ms"
            made = networkx.draw_networkx_edge_labels(
                graph, positions, {(one, other, number): words}, font_size=5, font_color="0.35", **style
            )
            drawn += made.values()
    return drawn


def _in_lines(name: str) -> str:
    """A long name over several lines, which begin where a word of it does."""
    lines = [""]
    for word in re.findall(r"[^-._]*[-._]*", name):
        if lines[-1] and len(lines[-1] + word) > LINE:
            lines.append("")
        lines[-1] += word
    return "\n".join(lines)


def _graph(topology: Topology) -> networkx.MultiGraph:
    """Routers, and LANs as nodes of their own, since a LAN of many is no mesh of links."""
    import networkx

    graph = networkx.MultiGraph()
    graph.add_nodes_from(topology.routers)
    for segment in topology.segments.values():
        members = [node for node, _ in segment.members if node in topology.routers]
        if segment.kind == "p2p":
            graph.add_edge(*members, delay_ms=segment.delay_ms)
        elif segment.kind == "lan":
            graph.add_edges_from((segment.name, member) for member in members)
    return graph


def laid_out(graph: networkx.MultiGraph) -> Positions:
    """Every two nodes about as far apart as there are links between them: stress majorization of Gansner, Koren and
    North (Graph Drawing 2004) with weights 1/d², from classical scaling on, so that a graph always looks the same."""
    import networkx
    import numpy

    nodes = list(graph)
    hops = dict(networkx.all_pairs_shortest_path_length(graph))
    far = max(max(each.values()) for each in hops.values()) + 1  # where there is no way
    apart = numpy.array([[hops[one].get(other, far) for other in nodes] for one in nodes], float)
    if len(nodes) == 1:
        return {nodes[0]: (0.0, 0.0)}
    numpy.fill_diagonal(apart, 1.0)
    weights = apart**-2.0
    numpy.fill_diagonal(weights, 0.0)
    solve = numpy.linalg.pinv(numpy.diag(weights.sum(1)) - weights)
    turn = 2 * numpy.pi * numpy.arange(len(nodes)) / len(nodes)
    middle = numpy.eye(len(nodes)) - 1 / len(nodes)
    strengths, ways = numpy.linalg.eigh(middle @ -((apart - numpy.eye(len(nodes))) ** 2) @ middle / 2)
    positions = ways[:, -2:] * numpy.sqrt(numpy.maximum(strengths[-2:], 0.0))
    if numpy.linalg.norm(positions[:, None] - positions[None], axis=2)[weights > 0].min() < 0.01:  # on one another
        positions += 0.05 * numpy.stack([numpy.cos(turn), numpy.sin(turn)], 1)
    for _ in range(STRESS_ROUNDS):
        between = numpy.linalg.norm(positions[:, None] - positions[None], axis=2)
        numpy.fill_diagonal(between, 1.0)
        pull = -weights * apart / numpy.maximum(between, 1e-9)
        numpy.fill_diagonal(pull, 0.0)
        numpy.fill_diagonal(pull, -pull.sum(1))
        positions = solve @ (pull @ positions)
    return {node: (round(float(x), 6), round(float(y), 6)) for node, (x, y) in zip(nodes, positions, strict=True)}


def layout(topology: Topology) -> Positions:
    """Where the routers and LANs of a topology are drawn: east and north, in units of no meaning."""
    return _positions(topology, _graph(topology))


def _positions(topology: Topology, graph: networkx.MultiGraph) -> Positions:
    """By coordinates if every router has them, and LANs in the middle of theirs; else a layout."""
    known: Positions = {
        router.name: (router.longitude, router.latitude)
        for router in topology.routers.values()
        if router.longitude is not None and router.latitude is not None
    }
    if len(known) < len(topology.routers) or len(set(known.values())) < len(known):
        return laid_out(graph)
    for node in graph:
        if node not in topology.routers:
            around = [known[neighbor] for neighbor in graph[node]]
            known[node] = (sum(x for x, _ in around) / len(around), sum(y for _, y in around) / len(around))
    return known
