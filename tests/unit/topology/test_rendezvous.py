"""The rendezvous point that is chosen where nobody named one."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.topology.load import load
from testbed.topology.rendezvous import central, costs
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
