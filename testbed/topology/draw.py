"""Draws a topology with matplotlib; the same topology gives the same octets."""

from __future__ import annotations

from pathlib import Path

from testbed.errors import InputError
from testbed.topology.resolved import Topology

FORMATS = (".svg", ".png", ".pdf")


def draw(topology: Topology, output: Path) -> None:
    """Write the drawing. Raises InputError for a file name that names no format."""
    if output.suffix not in FORMATS:
        raise InputError(f"{output.name!r} names no format", allowed=", ".join(FORMATS))
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "router-keys"
    import networkx
    from matplotlib import pyplot

    graph = networkx.Graph(topology.graph())
    known = {r.name: (r.longitude, r.latitude) for r in topology.routers.values() if r.longitude is not None}
    positions = known if len(known) == len(topology.routers) else networkx.kamada_kawai_layout(graph)
    figure, axes = pyplot.subplots(figsize=(8, 5))
    networkx.draw_networkx_edges(graph, positions, ax=axes, edge_color="0.5")
    networkx.draw_networkx_nodes(graph, positions, ax=axes, node_color="white", edgecolors="black", node_size=500)
    networkx.draw_networkx_labels(graph, positions, ax=axes, font_size=7)
    axes.set_axis_off()
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(output.suffix)
    figure.savefig(output, bbox_inches="tight", dpi=150, metadata=metadata)
    pyplot.close(figure)
