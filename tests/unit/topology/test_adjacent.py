"""Which adjacencies come up, what keeps the others down, and what is said of it before a guest boots."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import networkx
import pytest

from agents.ikev2.config import IkeConfig
from testbed.analysis.adjacency import expected
from testbed.analysis.links import most_used_link
from testbed.errors import InputError
from testbed.runner.experiment import find, names
from testbed.runner.simulated import Simulated
from testbed.topology.adjacent import live_graph
from testbed.topology.load import examine, load
from testbed.topology.paths import expected_paths
from testbed.topology.resolved import Topology
from testbed.topology.units import MIN_MTU

TRIANGLE = "links:\n  - {{between: [a, b]{0}}}\n  - b-c\n  - c-a\n"
LAN = "lans:\n  l: {{routers: [a, b, c]{0}}}\n"


def examined(folder: Path, text: str) -> tuple[Topology, list[str]]:
    (folder / "t.yaml").write_text(text)
    topology, cautions = examine(str(folder / "t.yaml"))
    return topology, [str(each.line()).replace(f"{folder}/", "") for each in cautions]


def pairs(topology: Topology) -> set[frozenset[str]]:
    return {frozenset((each.router, each.neighbor)) for each in expected(topology)}


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (", loss: 100%", "loses every packet"),
        (", mtu: [1400, 1500]", "MTU 1400 at a, 1500 at b: OSPF stays in ExStart and Exchange"),
        (", passive: [a]", "passive at a only: nobody there answers the Hellos of b"),
    ],
)
def test_a_link_that_hinders_ospf_is_told_with_its_line_and_not_expected(tmp_path: Path, words: str, seen: str) -> None:
    topology, warnings = examined(tmp_path, TRIANGLE.format(words))
    (line,) = warnings
    assert line.startswith("t.yaml:2:5: warning: a--b: ") and seen in line
    assert pairs(topology) == {frozenset("bc"), frozenset("ca")}
    hops = expected_paths(topology)["a"][topology.routers["b"].loopback.network]
    assert hops == {topology.routers["c"].interfaces[1].ipv4.ip}


def test_a_link_that_is_passive_at_both_ends_is_announced_and_is_no_mistake(tmp_path: Path) -> None:
    topology, warnings = examined(tmp_path, TRIANGLE.format(", passive: true"))
    assert warnings == []
    assert pairs(topology) == {frozenset("bc"), frozenset("ca")}
    assert topology.routers["a"].interfaces[0].ipv4.network in expected_paths(topology)["c"]


def test_ends_with_the_same_unusual_mtu_are_as_good_as_any(tmp_path: Path) -> None:
    topology, warnings = examined(tmp_path, TRIANGLE.format(", mtu: 1400B"))
    assert warnings == [] and len(pairs(topology)) == 3
    assert [router.interfaces[0].mtu for router in topology.routers.values()] == [1400, 1400, 1500]


def test_priority_0_on_all_of_a_lan_leaves_no_adjacency_and_no_route(tmp_path: Path) -> None:
    topology, warnings = examined(tmp_path, LAN.format(", priority: 0"))
    assert "priority 0 on all of a, b, c: no router becomes designated" in warnings[0]
    assert warnings[1:] == ["t.yaml: warning: without those adjacencies b, c cannot be reached from a"]
    assert expected(topology) == set()
    assert expected_paths(topology)["b"] == {}


def test_one_router_that_may_be_designated_is_enough_until_it_fails(tmp_path: Path) -> None:
    topology, warnings = examined(tmp_path, LAN.format(", priority: {a: 0, b: 0}"))
    assert warnings == [] and len(pairs(topology)) == 3
    loopback = topology.routers["b"].loopback.network
    assert loopback in expected_paths(topology)["a"]
    assert loopback not in expected_paths(topology, frozenset({"c"}))["a"]


def test_on_a_lan_a_router_of_another_mtu_than_the_designated_one_is_left_out(tmp_path: Path) -> None:
    topology, warnings = examined(tmp_path, LAN.format(", mtu: {a: 1400}"))
    assert "with c as designated router a cannot join" in warnings[0]
    assert pairs(topology) == {frozenset("bc")}
    topology, warnings = examined(tmp_path, LAN.format(", mtu: {a: 1400}, priority: {a: 9}"))
    assert "with a as designated router b, c cannot join" in warnings[0]
    assert pairs(topology) == set()


def test_a_router_that_takes_an_area_for_another_type_has_no_neighbour_there(tmp_path: Path) -> None:
    topology, warnings = examined(
        tmp_path,
        "ospf: {areas: {1: stub}}\nrouters: {a: , b: , x: {areas: {1: nssa}}}\n"
        "links: [{between: [a, b], area: 1}, {between: [b, x], area: 1}]\n",
    )
    assert "b takes area 0.0.0.1 for stub, x takes area 0.0.0.1 for nssa: their Hellos differ" in warnings[0]
    assert pairs(topology) == {frozenset("ab")}


AREAS = """
ospf: {areas: {0.0.0.1: stub, 2: Totally Stubby}}
links:
  - a-b
  - {between: [b, s], area: 1}
  - {between: [b, t], area: 2}
  - {between: [t, u], area: 2}
dks: {attach: a}
"""


def test_stub_areas_learn_a_default_route_and_totally_stubby_ones_nothing_else(tmp_path: Path) -> None:
    topology, warnings = examined(tmp_path, AREAS)
    assert warnings == []
    paths, default = expected_paths(topology), IPv4Network("0.0.0.0/0")
    far = topology.routers["a"].loopback.network
    assert {far, default} <= paths["s"].keys()
    assert default in paths["u"] and far not in paths["u"]
    assert topology.routers["t"].loopback.network in paths["u"]
    assert topology.routers["u"].loopback.network in paths["a"] and default not in paths["b"]


def test_the_live_graph_lacks_only_what_is_dead(tmp_path: Path) -> None:
    topology, _told = examined(tmp_path, TRIANGLE.format(", loss: 100%"))
    assert {frozenset(edge[:2]) for edge in live_graph(topology).edges} == {frozenset("bc"), frozenset("ca")}
    whole = load("abilene")
    assert networkx.utils.graphs_equal(live_graph(whole), whole.graph())


def test_link_cut_cuts_a_link_that_is_alive(tmp_path: Path) -> None:
    topology, _told = examined(tmp_path, TRIANGLE.format(", loss: 100%"))
    assert most_used_link(topology) != "a--b"


@pytest.mark.parametrize("text", ["links: [{between: [a, b], mtu: [1400, 1500]}]", LAN.format(", priority: 0")])
def test_no_experiment_is_begun_where_no_adjacency_comes_up(tmp_path: Path, text: str) -> None:
    topology, _told = examined(tmp_path, text)
    for name in names():
        experiment = find(name)
        if not isinstance(experiment, Simulated):
            with pytest.raises(InputError) as raised:
                experiment.plan(topology, "none", 1, {})
            assert raised.value.exit_code == 2 and "no adjacency comes up" in raised.value.problem


def test_ikes_largest_datagram_fits_the_smallest_mtu_over_ipv6() -> None:
    ipv6_header, udp_header = 40, 8
    assert IkeConfig().max_datagram + udp_header + ipv6_header <= MIN_MTU
