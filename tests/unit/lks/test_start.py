"""A domain that has to start by itself."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from agents.gikev2.party import GroupParty
from agents.ikev2.codec.header import parse_header
from agents.ikev2.registry import ExchangeType
from agents.ipsec.protection import Mode, RoutingProtocol
from agents.lks.link import Link
from agents.lks.retained import DOCUMENT
from agents.policy import edit
from agents.policy.document import Reconnect
from agents.policy.domain import Settings
from testbed.simulation.network import Network, ring
from testbed.simulation.wires import Passing

PAIR = {"a--b": ("a", "b")}
LAN = {"lan": ("a", "b", "c", "d")}
ROUND_TRIP_S = 0.008
SETTINGS = Settings(validity_s=1 << 33, reconnect=Reconnect(first_min_s=60, first_max_s=90))


@pytest.mark.parametrize("segments", [PAIR, LAN, ring(5)], ids=["two routers", "LAN of four", "ring of five"])
def test_everybody_is_keyed_within_a_few_round_trips(segments: dict[str, tuple[str, ...]]) -> None:
    network = Network(segments)
    network.power_on_all()
    assert network.run(8 * ROUND_TRIP_S, network.all_keyed)


def test_what_a_router_sends_is_protected_before_its_first_packet() -> None:
    network = Network(PAIR)
    network.power_on("a")
    kernel = network.nodes["a"].kernels[0][1]
    assert {each.name for each in kernel.interfaces} == {"a-e0"}
    assert [sa for sa in kernel.sas if sa.outbound and sa.active]


def test_all_power_fails_and_returns_without_a_word_to_the_dks_before_its_time() -> None:
    network = Network(ring(5), settings=SETTINGS, dks=True)
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    first = {(sa.spi, sa.keymat) for node in network.routers for sa in network.nodes[node].kernel.sas}
    network.run(30)
    for name in network.nodes:
        network.power_off(name)
    network.run(100)
    for name in network.routers:
        network.power_on(name)
    network.power_on("dks")
    assert network.run(101, network.all_keyed)
    again = {(sa.spi, sa.keymat) for node in network.routers for sa in network.nodes[node].kernel.sas}
    assert not first & again
    network.run(159)
    assert not [each for each in network.seen("request") if each.t > 100]
    network.run(192)
    assert len(network.seen("dks_contact", ok=True)) == 5
    assert network.seen("reported")


def test_a_neighbour_that_rebooted_is_keyed_at_once() -> None:
    network = Network(PAIR)
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    network.power_off("b")
    network.run(20.0)
    network.power_on("b")
    assert network.run(20 + 12 * ROUND_TRIP_S, network.all_keyed)


def test_a_neighbour_that_comes_late_is_keyed_at_once() -> None:
    network = Network(PAIR)
    network.power_on("a")
    network.run(500.3)
    network.power_on("b")
    assert network.run(500.3 + 10 * ROUND_TRIP_S, network.all_keyed)


@pytest.mark.parametrize("seed", range(5))
def test_a_ring_is_keyed_although_every_fifth_datagram_is_lost(seed: int) -> None:
    network = Network(ring(5), loss=0.2, seed=seed)
    network.power_on_all()
    assert network.run(15, network.all_keyed)


def test_interfaces_that_come_up_after_the_start_are_keyed() -> None:
    network = Network(PAIR)
    network.nodes["a"].up = False
    network.power_on_all()
    network.run(5)
    assert not network.all_keyed()
    network.set_interfaces("a", True)
    assert network.run(5 + 10 * ROUND_TRIP_S, network.all_keyed)


def test_two_parallel_links_do_not_disturb_each_other() -> None:
    network = Network({"one": ("a", "b"), "two": ("a", "b")})
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    network.run(60)
    assert len(network.seen("ike", state="established")) == 8
    assert network.all_keyed()


def test_a_dks_that_has_an_ipv6_address_alone_is_visited_there() -> None:
    network = Network({"one": ("a", "b")}, dks=True, settings=SETTINGS)
    address = "2001:db8::848"
    entry = network.domain.dks.model_copy(update={"addresses": (IPv6Address(address),)})
    network.domain = network.domain.model_copy(update={"dks": entry})
    network.compile()
    for name in network.routers:
        network.nodes[name].files[DOCUMENT] = network.signed[name]
    network.wires.remote = {address: "dks"}
    network.power_on("dks")
    for name in network.routers:
        network.power_on(name)
    assert network.run(120, lambda: len(network.seen("dks_contact", ok=True)) == 2)


class Counting(Network):
    """Counts requests of GSA_REGISTRATION."""

    registrations = 0

    def watch(self) -> None:
        def tap(passing: Passing) -> Passing:
            header = parse_header(passing.datagram.data)
            self.registrations += header.exchange == ExchangeType.GSA_REGISTRATION and not header.is_response
            return passing

        self.wires.tap = tap


PROTOCOLS = (RoutingProtocol.OSPF, RoutingProtocol.OSPF6, RoutingProtocol.PIM)


def test_all_groups_of_a_neighbour_are_registered_in_the_exchange_that_makes_the_ike_sa() -> None:
    network = Counting({"lan": ("a", "b", "c"), "a--d": ("a", "d")}, protocols=PROTOCOLS)
    network.watch()
    network.power_on_all()
    assert network.run(10, network.all_keyed)
    network.power_off("b")
    network.run(network.now + 5)
    network.power_on("b")
    assert network.run(network.now + 10, network.all_keyed)
    assert network.registrations == 0


def test_a_group_that_the_neighbour_has_not_yet_is_registered_when_it_has() -> None:
    network = Counting({"a--b": ("a", "b")})
    network.watch()
    ahead = edit.set_mode(network.domain, "b", "b-e0", Mode.CLEAR, [RoutingProtocol.PIM])
    network.publish(edit.set_mode(ahead, "a", "a-e0", Mode.LISTEN, [RoutingProtocol.PIM]))
    for name in network.routers:
        network.nodes[name].files[DOCUMENT] = network.signed[name]
    network.power_on_all()
    network.run(10)
    listener = network.lks("a").link["a-e0"].listeners["b"]
    assert {group.protocol for group, each in listener.hearing.items() if each.current} == {"ospf"}
    assert network.registrations > 0


def test_a_neighbour_that_knows_groups_alone_is_asked_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Link, "register_all", GroupParty.register_all)
    network = Counting({"a--b": ("a", "b")}, protocols=PROTOCOLS)
    network.watch()
    network.power_on_all()
    assert network.run(10, network.all_keyed)
    assert network.registrations == 2 * len(PROTOCOLS)
