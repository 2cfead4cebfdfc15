"""Several links between the same two routers: each has its own name, network, cost, group and fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.policy.bound import Case, removal_bound
from agents.policy.compile import compile_documents
from agents.policy.names import GroupId
from agents.policy.spi import sa_slots
from testbed.analysis import adjacency
from testbed.analysis.links import most_used_link
from testbed.domains.build import domain_of
from testbed.domains.keys import keys_of
from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.keying.options import AgentOptions
from testbed.topology.draw import draw
from testbed.topology.load import load
from testbed.topology.paths import expected_paths
from testbed.topology.resolved import Topology
from tests.unit.topology.experiments import in_guests

FIVE = """links:
  - {between: [a, b], delay: 2ms}
  - {between: [a, b], delay: 2ms}
  - {between: [b, c], delay: 3ms}
  - {between: [b, c], delay: 9ms, cost: 30}
  - {between: [c, a], delay: 5ms}
"""


def resolved(folder: Path, text: str = FIVE) -> Topology:
    (folder / "mine.yaml").write_text(text)
    return load(str(folder / "mine.yaml"))


def next_hops(topology: Topology, one: str, other: str, down: str = "") -> set[str]:
    """The segments over which a router should send to another's loopback."""
    paths = expected_paths(topology, frozenset({down} if down else ()))
    hops = paths[one][topology.routers[other].loopback.network]
    ends = [interface for router in topology.routers.values() for interface in router.interfaces]
    return {each.segment for each in ends if each.ipv4.ip in hops}


def test_each_link_has_a_name_a_network_and_a_cost_of_its_own(tmp_path: Path) -> None:
    topology = resolved(tmp_path)
    links = [each for each in topology.segments.values() if each.kind == "p2p"]
    assert [each.name for each in links] == ["a--b", "a--b#2", "b--c", "b--c#2", "c--a"]
    ends = [interface for router in topology.routers.values() for interface in router.interfaces]
    assert {each.segment: each.cost for each in ends if each.kind == "p2p"}["b--c#2"] == 30
    assert len({each.ipv4.network for each in ends}) == 6
    assert topology.graph().number_of_edges("a", "b") == 2
    assert sum(each.neighbor == "b" and each.router == "a" for each in adjacency.expected(topology)) == 2
    assert len(adjacency.expected(topology)) == 10


def test_a_link_written_the_other_way_round_is_the_second_of_the_same_two(tmp_path: Path) -> None:
    topology = resolved(tmp_path, "links: [a-b, {between: [b, a], costs: [7, 9]}, a-b]")
    assert list(topology.segments)[:3] == ["a--b", "a--b#2", "a--b#3"]
    assert topology.segments["a--b#2"].members == (("b", "b-eth1"), ("a", "a-eth1"))
    assert [each.cost for each in topology.routers["a"].interfaces[:3]] == [10, 9, 10]


def test_equal_links_share_the_traffic_and_a_dear_one_waits_for_the_others(tmp_path: Path) -> None:
    topology = resolved(tmp_path)
    assert next_hops(topology, "a", "b") == {"a--b", "a--b#2"}
    assert next_hops(topology, "a", "b", down="a--b") == {"a--b#2"}
    assert next_hops(topology, "b", "c") == {"b--c"}
    assert next_hops(topology, "b", "c", down="b--c") == {"a--b", "a--b#2"}
    assert next_hops(resolved(tmp_path, FIVE.replace("30", "15")), "b", "c", down="b--c") == {"b--c#2"}


def test_every_link_is_an_adjacency_and_two_groups_of_its_own_for_each_protocol(tmp_path: Path) -> None:
    topology = resolved(tmp_path)
    domain = domain_of(
        topology, keys_of(1), topology.dks.address, AgentOptions().settings(issuer="lks", local_key_server=True)
    )
    assert [str(each) for each in domain.adjacencies][:2] == ["a:a-eth0 -- b:b-eth0", "a:a-eth1 -- b:b-eth1"]
    documents = compile_documents(domain, 1, 0)
    assert sum(len(document.own_groups()) for document in documents.values()) == 2 * 10
    heard = [str(group) for _here, neighbor, group in documents["a"].neighbor_groups() if neighbor.router == "b"]
    each = [(number, protocol) for number in (0, 1) for protocol in ("ospf", "pim")]
    assert heard == [str(GroupId("example", "b", f"b-eth{number}", protocol)) for number, protocol in each]
    numbers = [
        slot.spi(document.spi, 0)
        for document in documents.values()
        for interface in document.interfaces
        for protocol in interface.protocols
        for slot in sa_slots(interface, protocol)
    ]
    assert len(set(numbers)) == len(numbers)


def test_a_removed_router_has_a_bound_on_each_of_its_links(tmp_path: Path) -> None:
    topology = resolved(tmp_path)
    domain = domain_of(
        topology, keys_of(1), topology.dks.address, AgentOptions().settings(issuer="lks", local_key_server=True)
    )
    found = removal_bound(domain, "b", Case.DKS)
    assert [(each.router, each.interface) for each in found] == [
        ("a", "a-eth0"), ("a", "a-eth1"), ("c", "c-eth0"), ("c", "c-eth1"),
    ]  # fmt: skip


def test_every_experiment_plays_links_side_by_side_or_says_why_not(tmp_path: Path) -> None:
    topology = resolved(tmp_path)
    for experiment in in_guests():
        try:
            plan = experiment.plan(topology, "lks", 1, {})
        except InputError:
            continue
        check_plan(plan)


def test_a_generator_gives_links_side_by_side_when_asked_for_them() -> None:
    topology = load("ring:4:links=2")
    assert topology.name == "ring-4-links2"
    assert len(topology.routers) == 4 and topology.graph().number_of_edges("r4", "r1") == 2
    assert len(adjacency.expected(topology)) == 16
    assert load("waxman:12:seed=3:links=1").segments == load("waxman:12:seed=3").segments
    for spec in ("lan:4:links=2", "ring:4:links=0", "ring:4:links=9", "ring:4:links=x", "ring:4:links=2:links=9"):
        with pytest.raises(InputError):
            load(spec)


def test_two_links_between_two_routers_are_no_bridge(tmp_path: Path) -> None:
    assert most_used_link(resolved(tmp_path, "links: [a-b, b-c, c-d, a-b]")) == "a--b"
    assert most_used_link(resolved(tmp_path, "links: [a-b, b-c, c-d]")) == "b--c"


def test_a_drawing_shows_both_links(tmp_path: Path) -> None:
    draw(resolved(tmp_path), tmp_path / "both.svg")
    text = (tmp_path / "both.svg").read_text()
    assert "<!-- 2 ms -->" in text and "<!-- #2: 2 ms -->" in text and "<!-- #2: 9 ms -->" in text


MULTI = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
 <key id="d0" for="node" attr.name="label" attr.type="string"/>
 <graph edgedefault="{direction}">
  <node id="0"><data key="d0">Paris</data></node><node id="1"><data key="d0">Lyon</data></node>
  <node id="2"><data key="d0">Marseille</data></node>
  <edge source="0" target="1"/><edge source="0" target="1"/><edge source="1" target="2"/><edge source="2" target="0"/>
  {more}
 </graph>
</graphml>"""


@pytest.mark.parametrize(
    ("direction", "more"),
    [
        ("undirected", ""),
        ("directed", '<edge source="1" target="0"/><edge source="1" target="0"/><edge source="2" target="1"/>'),
    ],
)
def test_a_graph_keeps_its_links_side_by_side(direction: str, more: str, tmp_path: Path) -> None:
    (tmp_path / "multi.graphml").write_text(MULTI.format(direction=direction, more=more))
    topology = load(str(tmp_path / "multi.graphml"))
    links = [name for name, each in topology.segments.items() if each.kind == "p2p"]
    assert sorted(links) == ["Lyon--Marseille", "Paris--Lyon", "Paris--Lyon#2", "Paris--Marseille"]
    assert topology.description == "imported from multi.graphml"


def test_a_resolved_topology_with_links_side_by_side_is_the_same_after_json(tmp_path: Path) -> None:
    topology = resolved(tmp_path)
    assert Topology.model_validate(json.loads(topology.model_dump_json())) == topology
