"""Where the nodes of a topology without coordinates are drawn."""

from __future__ import annotations

from math import dist

import networkx
import pytest

from testbed.topology.draw import laid_out


@pytest.mark.parametrize("graph", [networkx.grid_2d_graph(4, 5), networkx.cycle_graph(12), networkx.path_graph(5)])
def test_neighbours_lie_nearer_than_others_and_the_same_graph_looks_the_same(graph: networkx.Graph) -> None:
    made = networkx.MultiGraph(graph)
    positions = laid_out(made)
    linked = {frozenset(edge) for edge in graph.edges}
    apart = {frozenset((a, b)): dist(positions[a], positions[b]) for a in graph for b in graph if a != b}
    assert max(apart[pair] for pair in linked) < min(apart[pair] for pair in set(apart) - linked)
    assert positions == laid_out(made)


@pytest.mark.parametrize("graph", [networkx.star_graph(7), networkx.empty_graph(3), networkx.complete_graph(2)])
def test_no_two_nodes_lie_on_one_another(graph: networkx.Graph) -> None:
    positions = laid_out(networkx.MultiGraph(graph))
    assert min(dist(positions[a], positions[b]) for a in graph for b in graph if a != b) > 0.5


def test_a_single_node_has_a_place() -> None:
    assert laid_out(networkx.MultiGraph(networkx.empty_graph(1))) == {0: (0.0, 0.0)}
