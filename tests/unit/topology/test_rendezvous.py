"""The rendezvous point that is chosen where nobody named one."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import InputError
from testbed.topology.load import library, load
from testbed.topology.rendezvous import MOST_INTERFACES, central, costs, reason
from testbed.topology.resolved import Topology


def of(folder: Path, text: str) -> Topology:
    (folder / "t.yaml").write_text(text)
    return load(str(folder / "t.yaml"))


def test_the_router_that_the_others_reach_at_the_least_cost_is_chosen() -> None:
    assert central(load("line:5")) == "r3" and central(load("star:6")) == "r1"


def test_of_equal_ones_the_first_name_is_chosen(tmp_path: Path) -> None:
    assert central(of(tmp_path, "links: [z-y, y-x, x-z]")) == "x"


def test_costs_decide_in_the_direction_towards_the_router(tmp_path: Path) -> None:
    """Joins and Registers go towards it; what leaves it does not count."""
    topology = of(
        tmp_path,
        "links: [{between: [a, b], costs: [1, 50]}, {between: [b, c], costs: [1, 50]}]",
    )
    assert costs(topology)["a"] == {"a": 0, "b": 1, "c": 2}
    assert costs(topology)["c"] == {"c": 0, "b": 50, "a": 100}
    assert central(topology) == "c"


def test_a_lan_is_left_at_no_cost(tmp_path: Path) -> None:
    topology = of(tmp_path, "lans: {hall: {routers: [a, b, c], costs: {a: 3, b: 4, c: 5}}}")
    assert costs(topology)["a"] == {"a": 0, "b": 3, "c": 3} and costs(topology)["c"]["a"] == 5


@pytest.mark.parametrize("dead", ["loss: 100%", "mtu: [1400, 1500]", "passive: [c]"])
def test_a_link_without_an_adjacency_leads_nowhere_and_the_larger_part_has_the_point(dead: str, tmp_path: Path) -> None:
    topology = of(tmp_path, f"links: [b-a, {{between: [b, c], {dead}}}, c-d, d-e]")
    assert "a" not in costs(topology)["c"]
    assert central(topology) == "d"


@pytest.mark.parametrize("said", ["pim: off", "pim: false", "pim: no", "pim: 'OFF'"])
def test_pim_runs_unless_the_topology_says_otherwise(said: str, tmp_path: Path) -> None:
    topology = of(tmp_path, f"{said}\nlinks: [a-b]\nhosts: {{h: {{on: a}}}}")
    assert topology.pim is None and reason(topology) == "the topology says so"
    assert not any(end.pim for router in topology.routers.values() for end in router.interfaces)
    for other in ("", "pim:", "pim: on", "pim: {}"):
        topology = of(tmp_path, f"{other}\nlinks: [a-b, b-c]\nhosts: {{h: {{on: a}}}}")
        assert topology.pim is not None and (topology.pim.rp, topology.pim.chosen) == ("b", True)
        assert [router.name for router in topology.routers.values() if router.pim_rp] == ["b"]
        silent = {end.segment for router in topology.routers.values() for end in router.interfaces if not end.pim}
        assert silent == {topology.dks.segment}


def test_a_named_rendezvous_point_is_taken_and_said_to_be_named(tmp_path: Path) -> None:
    topology = of(tmp_path, "pim: {rp: a}\nlinks: [a-b, b-c]")
    assert topology.pim is not None and (topology.pim.rp, topology.pim.chosen) == ("a", False)
    assert reason(topology) == "the topology names it"


def test_the_reason_says_how_many_reach_the_point_when_not_all_do(tmp_path: Path) -> None:
    topology = of(tmp_path, "links: [b-a, {between: [b, c], loss: 100%}, c-d, d-e]")
    assert "OSPF costs from 2 others, which only it reaches, to it add up to 20" in reason(topology)


def test_without_ospfv2_or_with_too_many_interfaces_pim_runs_only_where_a_point_is_named(tmp_path: Path) -> None:
    six = "links: [a-b]\nospf: {versions: [3]}"
    assert of(tmp_path, six).pim is None and "OSPFv2 does not run" in reason(of(tmp_path, six))
    assert of(tmp_path, f"{six}\npim: {{rp: a}}").pim is not None
    links = ", ".join(f"hub-r{number}" for number in range(MOST_INTERFACES))
    assert of(tmp_path, f"links: [{links}]").pim is not None, "the key server's interface does not count"
    wide = f"links: [{links}]\nhosts: {{h: {{on: hub}}}}"
    assert of(tmp_path, wide).pim is None and "hub has 30 interfaces" in reason(of(tmp_path, wide))
    assert of(tmp_path, f"pim: off\n{wide}").pim is None
    with pytest.raises(InputError, match="hub has 30 interfaces") as caught:
        of(tmp_path, f"pim: {{rp: r0}}\n{wide}")
    assert "pim: off" in str(caught.value)


@pytest.mark.parametrize("spec", [*library(), "star:6", "lan:4", "grid:2x3", "regular:8:degree=4", "waxman:9:seed=2"])
def test_every_topology_at_hand_has_pim_on_all_its_links(spec: str) -> None:
    topology = load(spec)
    assert topology.pim is not None
    assert all(end.pim for router in topology.routers.values() for end in router.interfaces if end.kind != "stub")
