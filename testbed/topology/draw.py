"""Draws a topology with matplotlib; the same topology gives the same octets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from testbed.errors import InputError
from testbed.topology.resolved import Topology

if TYPE_CHECKING:
    import networkx

FORMATS = (".svg", ".png", ".pdf")
# With more wires than this, words on them would only hide them.
MOST_LABELS = 50


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
    figure, axes = pyplot.subplots(figsize=(9, 6))
    networkx.draw_networkx_edges(graph, positions, ax=axes, edge_color="0.6")
    networkx.draw_networkx_nodes(
        graph, positions, nodelist=routers, ax=axes, node_color=fills, edgecolors="black", node_size=1100
    )
    lans = [node for node in graph if node not in topology.routers]
    networkx.draw_networkx_nodes(
        graph, positions, nodelist=lans, ax=axes, node_color="0.9", edgecolors="0.4", node_size=800, node_shape="s"
    )
    networkx.draw_networkx_labels(graph, positions, ax=axes, font_size=6.5)
    if graph.number_of_edges() <= MOST_LABELS:
        delays = {(one, other): f"{ms:g} ms" for one, other, ms in graph.edges(data="delay_ms") if ms is not None}
        networkx.draw_networkx_edge_labels(graph, positions, delays, ax=axes, font_size=5, font_color="0.35")
    axes.set_title(f"{topology.name} (filled: the DKS is behind it)", fontsize=8)
    axes.set_axis_off()
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(kind)
    try:
        figure.savefig(output, bbox_inches="tight", dpi=150, metadata=metadata)
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror}", where=str(output), allowed="a file in a folder that is there"
        ) from error
    finally:
        pyplot.close(figure)


def _graph(topology: Topology) -> networkx.Graph:
    """Routers, and LANs as nodes of their own, since a LAN of many is no mesh of links."""
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(topology.routers)
    for segment in topology.segments.values():
        members = [node for node, _ in segment.members if node in topology.routers]
        if segment.kind == "p2p":
            graph.add_edge(*members, delay_ms=segment.delay_ms)
        elif segment.kind == "lan":
            graph.add_edges_from((segment.name, member) for member in members)
    return graph


def _positions(topology: Topology, graph: networkx.Graph) -> dict[str, tuple[float, float]]:
    """By coordinates if every router has them, and LANs in the middle of theirs; else a layout."""
    import networkx

    known: dict[str, tuple[float, float]] = {
        router.name: (router.longitude, router.latitude)
        for router in topology.routers.values()
        if router.longitude is not None and router.latitude is not None
    }
    if len(known) < len(topology.routers) or len(set(known.values())) < len(known):
        layout: dict[str, tuple[float, float]] = networkx.kamada_kawai_layout(graph)
        return layout
    for node in graph:
        if node not in topology.routers:
            around = [known[neighbor] for neighbor in graph[node]]
            known[node] = (sum(x for x, _ in around) / len(around), sum(y for _, y in around) / len(around))
    return known
