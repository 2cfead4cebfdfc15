"""Names as people write them: long ones, with hyphens and dots, and what each becomes in nodes, files and segments."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.policy.names import GroupId, check_router
from testbed.domains.build import domain_of
from testbed.domains.keys import keys_of
from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.keying.options import AgentOptions
from testbed.net.wires import LONGEST_DEVICE
from testbed.owned import NAME_PATTERN, plain_name
from testbed.record.plan import Plan
from testbed.topology.load import load
from testbed.topology.names import PROMPT_WORDS, RESERVED, from_labels, refusal
from testbed.topology.paths import expected_paths
from testbed.topology.resolved import Topology
from tests.unit.topology.experiments import in_guests

LONG = "core-ams-01.example_net." + "x" * 39
CITIES = """links:
  - {between: [core-ams-01, core-lon-02], delay: 4ms}
  - core-lon-02-edge.nyc.example
  - edge.nyc.example--core-ams-01
  - 1st - r2
  - r2--core-ams-01
lans: {lab.floor-3: [core-lon-02, r2]}
hosts: {desk-of-a.colleague: {on: edge.nyc.example}}
dks: {attach: edge.nyc.example}
pim: {rp: r2}
"""


def resolved(folder: Path, text: str) -> Topology:
    (folder / "mine.yaml").write_text(text)
    return load(str(folder / "mine.yaml"))


def test_names_with_hyphens_dots_and_up_to_63_characters_are_taken_as_they_are(tmp_path: Path) -> None:
    assert len(LONG) == 63
    topology = resolved(tmp_path, f"links: [{{between: [{LONG}, r2]}}]")
    assert list(topology.routers) == [LONG, "r2"]
    assert list(topology.segments) == [f"{LONG}--r2", f"{LONG}--dks"]
    assert plain_name(LONG, "") == check_router(LONG) == LONG


def test_a_short_link_is_read_by_the_names_that_the_rest_of_the_file_has(tmp_path: Path) -> None:
    topology = resolved(tmp_path, CITIES)
    assert [name for name, each in topology.segments.items() if each.kind == "p2p"] == [
        "core-ams-01--core-lon-02",
        "core-lon-02--edge.nyc.example",
        "edge.nyc.example--core-ams-01",
        "1st--r2",
        "r2--core-ams-01",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "routers: [a-b, c-d]\nlinks: [a-b-c-d]",
        "lans: {lan: [a-b, c-d]}\nlinks: [a-b-c-d]",
        "links: [a-b-c-d, {between: [a-b, c-d]}]",
        "links: [a-b-c-d, a-b--c-d]",
        "links: [a-b-c-d, a-b--e, e--c-d]\nhosts: {h: {on: c-d}}\ndks: {attach: a-b}",
    ],
)
def test_wherever_a_name_stands_it_helps_to_read_a_short_link(text: str, tmp_path: Path) -> None:
    assert "a-b--c-d" in resolved(tmp_path, text).segments


def test_an_interface_bears_its_nodes_name_only_where_linux_has_room_for_it(tmp_path: Path) -> None:
    topology = resolved(tmp_path, CITIES)
    assert [each.name for each in topology.routers["r2"].interfaces] == ["r2-eth0", "r2-eth1", "r2-eth2"]
    assert [each.name for each in topology.routers["core-lon-02"].interfaces] == ["eth0", "eth1", "eth2"]
    assert topology.routers["core-lon-02"].interfaces[1].label == "core-lon-02-eth1"
    assert topology.hosts["desk-of-a.colleague"].interface == "eth0"
    management = topology.dks.management.routers
    assert (management["r2"].name, management["core-lon-02"].name) == ("r2-mgmt", "mgmt")
    every = [each.name for router in load("star:500").routers.values() for each in router.interfaces]
    assert max(map(len, every)) <= LONGEST_DEVICE


def test_a_domain_has_a_group_for_every_interface_of_a_router_with_a_long_name(tmp_path: Path) -> None:
    topology = resolved(tmp_path, f"links: [{{between: [{LONG}, r2]}}]\ndomain: {'d' * 63}")
    domain = domain_of(
        topology, keys_of(1), topology.dks.address, AgentOptions().settings(issuer="lks", local_key_server=True)
    )
    (adjacency,) = domain.adjacencies
    assert str(adjacency) == f"{LONG}:eth0 -- r2:r2-eth0"
    group = GroupId(domain.name, LONG, "eth0", "ospf")
    assert GroupId.decode(group.encode()) == group


def test_a_capture_is_asked_for_by_the_label(tmp_path: Path) -> None:
    topology = resolved(tmp_path, CITIES)
    plan = {"experiment": "up", "topology": topology, "keying": "none", "duration_s": 1.0}
    check_plan(Plan(**plan, captures=("core-ams-01-eth0", "r2-eth1")))


def test_every_experiment_plays_long_names(tmp_path: Path) -> None:
    topology = resolved(tmp_path, CITIES)
    for experiment in in_guests():
        try:
            plan = experiment.plan(topology, "lks", 1, {})
        except InputError:  # refused with a reason is an answer
            continue
        check_plan(plan)
    assert len(expected_paths(topology)) == 5


@pytest.mark.parametrize("name", [*RESERVED, "DKS", "Wires", *PROMPT_WORDS, "10", "10.0.0.1", "0x7f.1"])
def test_a_name_that_means_something_else_is_refused_with_the_reason(name: str) -> None:
    assert refusal(name)


def test_a_lan_may_be_called_as_a_command_since_nobody_types_to_it() -> None:
    assert refusal("net", node=False) is None
    assert refusal("net") and refusal("management", node=False)


@given(st.lists(st.text(max_size=80), max_size=20))
def test_whatever_the_labels_the_names_are_allowed_and_different(labels: list[str]) -> None:
    names = from_labels(labels, ["net1"])
    assert len(names) == len(labels)
    assert len({name.lower() for name in [*names, "NET1"]}) == len(names) + 1
    assert all(re.fullmatch(NAME_PATTERN, name) and not refusal(name) for name in names)


def test_labels_keep_what_a_name_can_have() -> None:
    labels = ["St. Louis", "São Paulo", "Москва", "Berlin", "BERLIN", "net", "192.168.0.1", "a" * 70, "core-1.ams_2"]
    assert from_labels(labels) == [
        "St-Louis", "Sao-Paulo", "n3", "Berlin", "BERLIN-2", "net-2", "n7", "a" * 63, "core-1.ams_2",
    ]  # fmt: skip


def test_interfaces_have_the_names_that_are_given_and_the_others_keep_out_of_their_way(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "links:\n  - {between: [a, b], interfaces: [eth1, uplink]}\n  - a-b\n"
        "  - {between: [b, a], interfaces: [b-eth1, a-eth3]}\n"
        "lans: {l: {routers: [a, b], interfaces: {b: b-eth3}}}\nhosts: {h: {on: a, interfaces: [port, eth7]}}\n"
    )
    topology = load(str(tmp_path / "t.yaml"))
    named = {name: [each.name for each in router.interfaces] for name, router in topology.routers.items()}
    assert named["a"] == ["eth1", "a-eth2", "a-eth3", "a-eth4", "port", "a-eth5"]
    assert named["b"] == ["uplink", "b-eth2", "b-eth1", "b-eth3"]
    assert topology.hosts["h"].interface == "eth7"
    assert topology.segments["a--h"].members == (("a", "port"), ("h", "eth7"))
    labels = [each.label for router in topology.routers.values() for each in router.interfaces]
    assert len(set(labels)) == len(labels)
