"""Links without IPv4: neighbours speak IKE from link-local address to link-local address, and protect OSPFv3."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from agents.ipsec.protection import RoutingProtocol
from agents.lks.core import LksCore
from agents.policy.domain import Settings
from agents.runtime.effects import Send
from testbed.simulation.network import Network
from testbed.simulation.wires import Passing

SEGMENTS = {"ab": ("a", "b"), "lan": ("b", "c", "d")}
ADJACENCIES = 2 + 6


def keyed(net: Network) -> bool:
    return len(net.seen("keyed")) == ADJACENCIES


def test_neighbours_without_ipv4_key_each_other_between_link_local_addresses_alone() -> None:
    used = set()

    def tap(passing: Passing) -> Passing:
        used.update({passing.datagram.peer.ip, passing.datagram.peer.local_ip})
        return passing

    net = Network(SEGMENTS, protocols=(RoutingProtocol.OSPF6,))
    net.wires.tap = tap
    for name in net.routers:
        net.power_on(name)
    assert net.run(5, lambda: keyed(net))
    assert len(used) == 5 and all(ip_address(each).is_link_local for each in used)
    kernel = net.nodes["b"].kernel
    assert kernel is not None
    net.run(net.now + 1)
    senders = {(str(each.speaker), str(each.destination)) for each in kernel.sas if not each.outbound}
    assert {("fe80::1:1", "ff02::5"), ("fe80::2:2", "ff02::5"), ("fe80::2:3", "ff02::6")} <= senders


@pytest.mark.parametrize("issuer", ["dks", "lks"])
def test_they_are_keyed_with_a_dks_in_all_ways_of_issuing(issuer: str) -> None:
    net = Network(
        SEGMENTS,
        settings=Settings(validity_s=1 << 33, issuer=issuer, local_key_server=True),  # type: ignore[arg-type]
        protocols=(RoutingProtocol.OSPF6,),
        dks=True,
    )
    for name in ("dks", *net.routers):
        net.power_on(name)
    assert net.run(5, lambda: keyed(net))


def test_a_datagram_with_a_neighbour_s_link_local_address_counts_on_its_own_link_and_from_no_further() -> None:
    """Every link may have the same link-local addresses: the address says nothing without the interface."""
    net = Network(SEGMENTS, protocols=(RoutingProtocol.OSPF6,))
    first: list[Passing] = []

    def tap(passing: Passing) -> Passing:
        if passing.receiver == "b" and passing.datagram.peer.ip == "fe80::1:1":
            first.append(passing)
        return passing

    net.wires.tap = tap
    for name in ("a", "b"):
        net.power_on(name)
    assert net.run(5, lambda: bool(first))
    core = net.nodes["b"].core
    assert isinstance(core, LksCore)
    datagram = first[0].datagram
    elsewhere = replace(datagram, peer=replace(datagram.peer, interface="b-e1"))
    answers = []
    for each in (elsewhere, replace(datagram, hop_limit=64), datagram):
        core.receive(each, net.now)
        answers.append(sum(isinstance(effect, Send) for effect in core.take()))
    assert answers[:2] == [0, 0] and answers[2] > 0


def test_a_link_that_has_no_usable_link_local_address_yet_is_not_up() -> None:
    net = Network(SEGMENTS, protocols=(RoutingProtocol.OSPF6,))
    net.power_on("a")
    core = net.nodes["a"].core
    assert isinstance(core, LksCore) and core.link["a-e0"].up
    name, state = next(iter(net.nodes["a"].links().items()))
    core.links({name: replace(state, addresses=frozenset({"fe80::bad"}))}, net.now)
    assert not core.link["a-e0"].up
