"""Addresses, names and expected routes of resolved topologies, for any topology hypothesis can think of."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.topology.address import resolve
from testbed.topology.check import check
from testbed.topology.load import library, load
from testbed.topology.paths import expected_paths
from testbed.topology.resolved import Topology
from testbed.topology.source import LanSource, LinkSource, RouterSource, TopologySource


@st.composite
def topologies(draw: st.DrawFn, symmetric: bool = False) -> Topology:
    """A tree of links with some more links, also side by side, and perhaps a LAN; every direction with its own cost if
    not `symmetric`."""
    count = draw(st.integers(2, 9))
    names = [f"r{number}" for number in range(count)]
    pairs = {(names[draw(st.integers(0, number - 1))], names[number]) for number in range(1, count)}
    pairs |= draw(st.sets(st.sampled_from(sorted(combinations(names, 2))), max_size=6))
    wires = sorted([*pairs, *draw(st.lists(st.sampled_from(sorted(pairs)), max_size=3))])
    cost = st.integers(1, 5)
    costs = [(first, first if symmetric else draw(cost)) for first in (draw(cost) for _ in wires)]
    links = [LinkSource(between=list(pair), costs=list(two)) for pair, two in zip(wires, costs, strict=True)]
    members = draw(st.lists(st.sampled_from(names), min_size=2, max_size=5, unique=True)) if count > 2 else names
    lans = {"lan": LanSource(routers=members, cost=draw(cost))} if draw(st.booleans()) else {}
    return resolve(TopologySource(routers=dict.fromkeys(names, RouterSource()), links=links, lans=lans), "any")


@given(topologies())
@settings(max_examples=60, deadline=None)
def test_every_address_and_every_mac_is_given_once_and_json_brings_all_of_it_back(topology: Topology) -> None:
    interfaces = [interface for router in topology.routers.values() for interface in router.interfaces]
    addresses = [router.loopback.ip for router in topology.routers.values()]
    addresses += [interface.ipv4.ip for interface in interfaces] + [topology.dks.address]
    assert len(set(addresses)) == len(addresses)
    assert len({interface.mac for interface in interfaces}) == len(interfaces)
    assert all(len(interface.name) <= 15 for interface in interfaces)
    assert Topology.model_validate_json(topology.model_dump_json()) == topology


@given(topologies())
@settings(max_examples=60, deadline=None)
def test_following_the_next_hops_reaches_the_prefix_at_the_least_cost(topology: Topology) -> None:
    paths = expected_paths(topology)
    owner = {interface.ipv4.ip: interface for router in topology.routers.values() for interface in router.interfaces}
    graph = networkx.MultiDiGraph()
    for name in topology.routers:
        for adjacency in topology.neighbors(name):
            graph.add_edge(name, adjacency.neighbor_router, weight=adjacency.interface.cost)
    for name, table in paths.items():
        distance = networkx.single_source_dijkstra_path_length(graph, name)
        for other, router in topology.routers.items():
            if other == name:
                continue
            for hop in table[router.loopback.network]:
                neighbor = owner[hop]
                mine = next(i for i in topology.routers[name].interfaces if i.segment == neighbor.segment)
                assert hop in mine.ipv4.network and neighbor.router != name
                rest = networkx.dijkstra_path_length(graph, neighbor.router, other)
                assert mine.cost + rest == distance[other]


def test_both_ways_around_a_ring_are_equal_cost_next_hops() -> None:
    ring = load("ring")
    assert len(expected_paths(ring)["r1"][ring.routers["r3"].loopback.network]) == 2
    assert len(expected_paths(ring, frozenset({"r1--r2"}))["r1"][ring.routers["r3"].loopback.network]) == 1


AREAS = """
links:
  - {between: [a, b]}
  - {between: [b, c], cost: 50}
  - {between: [b, x], area: 1}
  - {between: [x, c], area: 1}
  - {between: [c, y], area: 2}
"""


def areas(tmp_path: Path) -> Topology:
    (tmp_path / "areas.yaml").write_text(AREAS)
    return load(str(tmp_path / "areas.yaml"))


def test_a_path_within_the_backbone_goes_before_a_shorter_one_through_another_area(tmp_path: Path) -> None:
    topology = areas(tmp_path)
    table = expected_paths(topology)["b"]
    (hop,) = table[topology.routers["c"].loopback.network]
    assert hop == topology.routers["c"].interfaces[0].ipv4.ip


def test_between_areas_paths_go_from_border_to_border(tmp_path: Path) -> None:
    topology = areas(tmp_path)
    paths = expected_paths(topology)
    y, b, c = (topology.routers[name] for name in "ybc")
    assert paths["a"][y.loopback.network] == {b.interfaces[0].ipv4.ip}
    assert paths["x"][y.loopback.network] == {c.interfaces[1].ipv4.ip}
    assert paths["y"][topology.routers["a"].loopback.network] == {c.interfaces[2].ipv4.ip}
    assert [i.area for i in b.interfaces] == ["0.0.0.0", "0.0.0.0", "0.0.0.1"]


def test_a_router_that_is_down_is_in_nobodys_table() -> None:
    ring = load("ring")
    paths = expected_paths(ring, frozenset({"r3"}))
    assert "r3" not in paths
    assert all(ring.routers["r3"].loopback.network not in table for table in paths.values())


def test_a_link_to_a_router_without_power_has_no_carrier() -> None:
    ring = load("ring:4")
    dark = {interface.ipv4.network for interface in ring.routers["r3"].interfaces}
    assert dark <= expected_paths(ring)["r1"].keys()
    assert not dark & expected_paths(ring, frozenset({"r3"}))["r1"].keys()


def test_one_interface_down_ends_its_segment_for_both_sides() -> None:
    line = load("line:3")
    paths = expected_paths(line, frozenset({"r1:r1-eth0"}))
    assert paths["r1"] == {}
    assert line.routers["r1"].loopback.network not in paths["r3"]


@pytest.mark.parametrize("name", library())
def test_what_is_in_the_library_is_sound(name: str) -> None:
    topology = load(name)
    assert networkx.is_connected(topology.graph())
    assert IPv4Network("10.0.0.0/16").supernet_of(topology.routers[next(iter(topology.routers))].loopback.network)


def test_abilene_has_eleven_routers_and_fourteen_links() -> None:
    abilene = load("abilene")
    assert (len(abilene.routers), abilene.graph().number_of_edges()) == (11, 14)


def test_addresses_that_a_person_gave_are_kept_and_avoided(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "routers: {r1: {loopback: 10.0.0.2/32}, r2: }\nlinks: [{between: [r1, r2], subnet: 10.64.0.0/29}]\n"
    )
    topology = load(str(file))
    assert str(topology.routers["r1"].loopback) == "10.0.0.2/32"
    assert str(topology.routers["r2"].loopback) == "10.0.0.1/32"
    assert str(topology.routers["r2"].interfaces[0].ipv4) == "10.64.0.2/29"


def test_the_same_words_generate_the_same_topology_and_another_seed_another() -> None:
    assert load("waxman:12:seed=3") == load("waxman:12:seed=3")
    assert load("waxman:12:seed=3").graph().edges != load("waxman:12:seed=4").graph().edges


@pytest.mark.parametrize(("routers", "degree"), [(3, 2), (12, 2), (12, 5), (12, 11), (11, 6)])
def test_in_a_regular_topology_all_have_as_many_neighbours_and_all_are_reached(routers: int, degree: int) -> None:
    graph = load(f"regular:{routers}:degree={degree}").graph()
    assert len(graph) == routers and networkx.is_connected(graph)
    assert {count for _router, count in graph.degree} == {degree}


def test_the_check_of_a_sound_source_finds_nothing() -> None:
    assert check(TopologySource(links=[LinkSource(between=["a", "b"])]), lambda *_: None) == []  # type: ignore[arg-type,return-value]


def test_a_lan_as_near_directly_as_through_a_neighbour_is_used_directly() -> None:
    """As RFC 2328 §16.1.1 and FRR have it; r1 reaches the LAN at 4 either way."""
    source = TopologySource(
        links=[LinkSource(between=["r1", "r2"], cost=1)],
        lans={"lan": LanSource(routers=["r1", "r2", "r3"], costs={"r1": 4, "r2": 3, "r3": 1})},
    )
    topology = resolve(source, "corner")
    (hop,) = expected_paths(topology)["r1"][topology.routers["r3"].loopback.network]
    assert hop == topology.routers["r3"].interfaces[0].ipv4.ip


@given(topologies())
@settings(max_examples=60, deadline=None)
def test_no_equal_cost_next_hop_is_missing(topology: Topology) -> None:
    """Of LANs that cost all members the same; the test above has the exception."""
    graph = networkx.MultiDiGraph()
    for name in topology.routers:
        for adjacency in topology.neighbors(name):
            graph.add_edge(name, adjacency.neighbor_router, weight=adjacency.interface.cost)
    distance = dict(networkx.all_pairs_dijkstra_path_length(graph))
    for name, table in expected_paths(topology).items():
        for other in topology.routers.keys() - {name}:
            assert table[topology.routers[other].loopback.network] == {
                adjacency.neighbor_interface.ipv4.ip
                for adjacency in topology.neighbors(name)
                if adjacency.interface.cost + distance[adjacency.neighbor_router][other] == distance[name][other]
            }


@given(topologies(symmetric=True))
@settings(max_examples=40, deadline=None)
def test_where_costs_are_the_same_both_ways_so_are_the_lengths_of_paths(topology: Topology) -> None:
    paths = expected_paths(topology)
    owner = {i.ipv4.ip: i for router in topology.routers.values() for i in router.interfaces}

    def length(one: str, other: str) -> int:
        if one == other:
            return 0
        hop = owner[min(paths[one][topology.routers[other].loopback.network])]
        mine = next(i for i in topology.routers[one].interfaces if i.segment == hop.segment)
        return mine.cost + length(hop.router, other)

    for one in topology.routers:
        for other in topology.routers:
            assert length(one, other) == length(other, one)


@given(topologies(), st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_down_is_as_if_it_were_not_there(topology: Topology, data: st.DataObject) -> None:
    down = data.draw(st.frozensets(st.sampled_from([*topology.routers, *topology.segments]), max_size=3))
    paths = expected_paths(topology, down)
    assert paths.keys() == topology.routers.keys() - down
    owner = {i.ipv4.ip: i for router in topology.routers.values() for i in router.interfaces}
    hops = {hop for table in paths.values() for found in table.values() for hop in found}
    assert all(owner[hop].router not in down and owner[hop].segment not in down for hop in hops)
    alive = topology.graph()
    alive.remove_nodes_from(down & topology.routers.keys())
    alive.remove_edges_from([edge for edge in alive.edges(keys=True) if alive.edges[edge]["segment"] in down])
    for name, table in paths.items():
        reached = {other for other in alive if topology.routers[other].loopback.network in table} | {name}
        assert reached == networkx.node_connected_component(alive, name)
