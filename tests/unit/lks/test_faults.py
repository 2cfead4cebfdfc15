"""Domains that start, and go on, although the network and the power do their worst."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from agents.lks.retained import COUNTERS
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from testbed.simulation.network import Network, ring
from testbed.simulation.simulation import Node

PAIR = {"a--b": ("a", "b")}
LAN = {"lan": ("a", "b", "c", "d", "e")}
SETTINGS = Settings(validity_s=1 << 33, reconnect=Reconnect(first_min_s=60, first_max_s=90))


def sent_with(node: Node) -> dict[tuple[str, int], set[bytes]]:
    """Every key that the kernel ever sent with, by destination and generation, over all boots."""
    found: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    for _when, kernel in node.kernels:
        for sa in kernel.sas:
            if sa.outbound:
                found[f"{sa.interface} {sa.protocol.value} {sa.destination}", sa.generation].add(sa.keymat)
    return found


def effects_until_keyed() -> int:
    network = Network(PAIR)
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    network.run(6)
    return network.nodes["a"].effects


@pytest.mark.parametrize("effect", range(effects_until_keyed()))
def test_power_that_fails_before_any_effect_costs_no_key_twice_and_no_adjacency(effect: int) -> None:
    network = Network(PAIR)
    node = network.nodes["a"]
    node.crash_at = effect
    network.power_on_all()
    network.run(6)
    assert node.core is None and node.effects == effect
    network.power_on("a")
    assert network.run(40, network.all_keyed)
    assert all(len(keys) == 1 for keys in sent_with(node).values())
    assert node.boots == 2


@pytest.mark.parametrize("seed", range(6))
def test_a_router_that_fails_again_and_again_while_it_starts_is_keyed_when_that_ends(seed: int) -> None:
    network = Network(LAN, loss=0.1, seed=seed)
    chance = random.Random(seed)
    network.power_on_all()
    for _failure in range(5):
        name = chance.choice(network.routers)
        network.nodes[name].crash_at = network.nodes[name].effects + chance.randrange(20)
        network.run(network.now + chance.random())
        if network.nodes[name].core is None:
            network.power_on(name)
        network.nodes[name].crash_at = None
    for name in network.routers:
        if network.nodes[name].core is None:
            network.power_on(name)
    assert network.run(network.now + 60, network.all_keyed)
    for node in network.nodes.values():
        assert all(len(keys) == 1 for keys in sent_with(node).values())


@pytest.mark.parametrize("seed", range(5))
def test_a_lan_is_keyed_although_datagrams_are_lost_doubled_and_overtaken(seed: int) -> None:
    network = Network(LAN, loss=0.2, duplicate=0.2, overtake=0.2, seed=seed)
    network.power_on_all()
    assert network.run(20, network.all_keyed)
    network.run(60)
    assert network.all_keyed()


@pytest.mark.parametrize("seed", range(5))
def test_power_returns_to_a_ring_of_eleven_at_different_times_and_the_dks_hears_nothing(seed: int) -> None:
    network = Network(ring(11), settings=SETTINGS, dks=True, seed=seed)
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    network.run(10)
    for name in network.nodes:
        network.power_off(name)
    chance = random.Random(seed)
    last = 0.0
    for name in network.nodes:
        when = 20 + 5 * chance.random()
        last = max(last, when)
        network.at(when, lambda name=name: network.power_on(name))  # type: ignore[misc]
    network.run(last)
    assert network.run(last + 0.1, network.all_keyed)
    network.run(80)
    assert not [each for each in network.seen("request") if each.t > 10]
    for node in network.nodes.values():
        assert all(len(keys) == 1 for keys in sent_with(node).values())


def test_a_link_that_is_cut_and_heals_within_the_keys_lifetime_is_keyed_all_the_time() -> None:
    network = Network(PAIR, settings=Settings(validity_s=1 << 33, lifetimes=Lifetimes(group_s=3600)))
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    network.wires.cut.add("a--b")
    for second in range(2, 300):
        network.run(second)
        assert network.all_keyed(), second
    network.wires.cut.clear()
    for second in range(300, 400):
        network.run(second)
        assert network.all_keyed(), second
    assert network.lks("a").command(["status"], network.now)["all_keyed"]


def test_a_cut_that_lasts_through_rekeys_heals_by_itself() -> None:
    network = Network(PAIR, settings=Settings(validity_s=1 << 33, lifetimes=Lifetimes(group_s=60)))
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    network.wires.cut.add("a--b")
    network.run(300)
    assert not network.all_keyed()
    network.wires.cut.clear()
    assert network.run(303, network.all_keyed)


def test_interfaces_that_flap_keep_their_keys() -> None:
    network = Network(PAIR)
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    for flap in range(1, 20):
        network.set_interfaces("a", False)
        network.run(flap + 0.5)
        assert network.all_keyed()
        network.set_interfaces("a", True)
        network.run(flap + 1.0)
        assert network.all_keyed()


def test_no_generation_is_in_the_kernel_above_the_mark_on_the_disk() -> None:
    network = Network(ring(3), settings=Settings(validity_s=1 << 33, lifetimes=Lifetimes(group_s=30)))
    network.power_on_all()
    for second in range(1, 120):
        network.run(second)
        for name in network.routers:
            node = network.nodes[name]
            assert node.kernel is not None
            newest = max(sa.generation for sa in node.kernel.sas if sa.outbound)
            assert newest <= network.lks(name)._context.retained.reserved
            assert COUNTERS in node.files


def test_a_hundred_routers_are_keyed_within_a_second_of_their_power() -> None:
    network = Network(ring(100))
    network.power_on_all()
    assert network.run(1, network.all_keyed)
