"""Whose power is cut."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import InputError
from testbed.runner.experiment import find
from testbed.topology.load import load
from testbed.topology.resolved import Topology

NETWORK = """
pim: {rp: d}
lans: {office: [a, b, c]}
links: [c-d, d-e, d-f]
hosts: {src: {on: e}, sink: {on: a}}
"""


@pytest.fixture(name="network")
def the_network(tmp_path: Path) -> Topology:
    (tmp_path / "network.yaml").write_text(NETWORK)
    return load(str(tmp_path / "network.yaml"))


def cut(network: Topology, options: Mapping[str, Any]) -> set[str]:
    plan = find("power_cycle").plan(network, "none", 1, options)
    named = [each.nodes for each in plan.timeline if each.action in ("power_off", "power_on")]  # type: ignore[attr-defined]
    assert len(named) == 2 and named[0] == named[1]
    return set(named[0])


@pytest.mark.parametrize(
    ("which", "router"), [("busiest", "c"), ("rp", "d"), ("dr", "c"), ("first-hop", "a"), ("b", "b")]
)
def test_the_router_that_loses_its_power_is_the_one_that_was_asked_for(
    network: Topology, which: str, router: str
) -> None:
    assert cut(network, {"which": which}) == {router}


def test_by_default_it_is_the_router_with_the_most_neighbours(network: Topology) -> None:
    assert cut(network, {}) == {"c"}


@pytest.mark.parametrize("which", ["rpp", ["a"], None, 3])
def test_a_router_that_there_is_not_is_an_error_that_names_the_words_and_the_routers(
    network: Topology, which: Any
) -> None:
    with pytest.raises(InputError) as caught:
        cut(network, {"which": which})
    assert "there is no router" in str(caught.value) and "first-hop" in str(caught.value.allowed)


@pytest.mark.parametrize(
    ("which", "said"), [("rp", "no rendezvous point"), ("dr", "no LAN"), ("first-hop", "no multicast source")]
)
def test_a_network_without_pim_or_lan_says_that_it_lacks_it(tmp_path: Path, which: str, said: str) -> None:
    (tmp_path / "bare.yaml").write_text("pim: off\nlinks: [a-b, b-c]\n")
    bare = load(str(tmp_path / "bare.yaml"))
    with pytest.raises(InputError, match=said):
        cut(bare, {"which": which})
