"""Two routers with several links between them: every link has its own IKE SAs and its own groups."""

from __future__ import annotations

import pytest

from agents.policy.domain import Settings
from testbed.simulation.network import Network

TWICE = {"a--b": ("a", "b"), "a--b#2": ("a", "b"), "b--c": ("b", "c")}
LKS = Settings(validity_s=1 << 33)
SHARED = Settings(validity_s=1 << 33, issuer="dks")
CENTRAL = Settings(validity_s=1 << 33, issuer="dks", local_key_server=False)


def keys(network: Network, router: str, interface: str) -> set[object]:
    """What a router hears with on an interface."""
    return {sa.keymat for sa in network.nodes[router].kernel.sas if sa.interface == interface and not sa.outbound}


@pytest.mark.parametrize("settings", [LKS, SHARED, CENTRAL], ids=["lks", "dks-lks", "central"])
def test_every_link_is_keyed_with_keys_of_its_own(settings: Settings) -> None:
    network = Network(TWICE, settings=settings, dks=True)
    network.power_on("dks")
    network.power_on_all()
    assert network.run(60, network.all_keyed)
    first, second = keys(network, "a", "a-e0"), keys(network, "a", "a-e1")
    assert first and second and not first & second


def test_a_cut_link_leaves_the_keys_and_the_ike_sas_of_the_other_alone() -> None:
    network = Network(TWICE)
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    before = keys(network, "a", "a-e1")
    network.wires.cut.add("a--b")
    network.run(200)
    ended = [each for each in network.seen("ike") if each.fields["state"] != "established"]
    assert ended and {each.fields["interface"] for each in ended} <= {"a-e0", "b-e0"}
    assert before <= keys(network, "a", "a-e1")
    network.wires.cut.clear()
    assert network.run(260, network.all_keyed)
    ended = [each for each in network.seen("ike") if each.fields["state"] != "established"]
    assert {each.fields["interface"] for each in ended} <= {"a-e0", "b-e0"}


def test_a_removed_router_is_out_on_all_of_its_links() -> None:
    network = Network(TWICE, dks=True)
    network.power_on_all()
    assert network.run(60, network.all_keyed)
    block = network.domain.router("a").spi
    heard = lambda: {sa.interface for sa in network.nodes["b"].kernel.sas if block.holds(sa.spi)}  # noqa: E731
    assert heard() == {"b-e0", "b-e1"}
    network.remove("a")
    assert network.run(1000, lambda: not heard())


def test_both_links_come_back_together_when_a_neighbour_reboots() -> None:
    network = Network(TWICE, loss=0.1, overtake=0.1)
    network.power_on_all()
    assert network.run(60, network.all_keyed)
    network.power_off("a")
    network.run(80)
    network.power_on("a")
    assert network.run(140, network.all_keyed)


def test_a_rekey_of_one_link_is_none_of_the_other() -> None:
    network = Network(TWICE)
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    before = keys(network, "b", "b-e0"), keys(network, "b", "b-e1")
    network.command("a", "rekey", "a-e1")
    network.run(30)
    assert keys(network, "b", "b-e0") == before[0]
    assert keys(network, "b", "b-e1") != before[1]
