"""Local Key Servers and what comes from outside: forged datagrams on the link, and neighbours with a good key."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest

from agents.ikev2 import Datagram, NotifyPayload, PeerAddress
from agents.ikev2.codec.header import Header, encode_header, parse_header
from agents.ikev2.codec.payloads import encode_payloads
from agents.ikev2.config import PLAIN
from agents.policy.document import Lifetimes
from agents.policy.domain import Settings
from testbed.simulation.network import Network
from testbed.simulation.wires import Passing
from testbed.soak.unsealed import digest

PAIR = {"a--b": ("a", "b")}


def broken(head: Header, **changes: int) -> bytes:
    """An SK payload that does not fit its datagram."""
    return encode_header(replace(head, next_payload=46, **changes), 32) + struct.pack("!BBH", 0, 0, 0xFFFF)


def refused(head: Header, kind: int) -> bytes:
    first, body = encode_payloads([NotifyPayload(kind)])
    return encode_header(Header(head.spi_i, bytes(8), first, 34, 32, 0), 28 + len(body)) + body


def in_the_name_of_the_other(network: Network, passing: Passing, data: bytes, after_s: float) -> None:
    """To the receiver of a datagram, as if its sender had sent this as well."""
    peer = passing.datagram.peer
    network.at(network.now + after_s, lambda: network.deliver(passing.receiver, Datagram(data, peer, 255)))


def to_the_sender(network: Network, passing: Passing, data: bytes) -> None:
    """To the sender of a datagram, as if its receiver had answered at once."""
    name, (address, _segment) = next(iter(network.nodes[passing.sender].interfaces.items()))
    peer = PeerAddress(passing.datagram.peer.local_ip, 848, address, name, 848)
    network.at(network.now + 0.0001, lambda: network.deliver(passing.sender, Datagram(data, peer, 255)))


def forged_auth_answers(network: Network, passing: Passing) -> None:
    head = parse_header(passing.datagram.data)
    if head.exchange == 34 and head.is_response and head.spi_r != bytes(8):
        in_the_name_of_the_other(network, passing, broken(head, exchange=39, message_id=1), 0.0045)


def forged_auth_requests(network: Network, passing: Passing) -> None:
    head = parse_header(passing.datagram.data)
    if head.exchange == 34 and head.is_response and head.spi_r != bytes(8):
        data = broken(head, exchange=39, message_id=1, flags=8)
        to_the_sender(network, passing, data)


def forged_refusals(network: Network, passing: Passing) -> None:
    head = parse_header(passing.datagram.data)
    if head.exchange == 34 and not head.is_response:
        for kind in (14, 24, 7, 17):
            to_the_sender(network, passing, refused(head, kind))


def forged_deletes(network: Network, passing: Passing) -> None:
    head = parse_header(passing.datagram.data)
    if head.exchange != 34:
        for message_id in range(4):
            in_the_name_of_the_other(network, passing, broken(head, exchange=37, message_id=message_id), 0.0001)


@pytest.mark.parametrize("forger", [forged_auth_answers, forged_auth_requests, forged_refusals, forged_deletes])
def test_a_forger_without_a_key_keeps_no_neighbours_apart(forger: Callable[[Network, Passing], None]) -> None:
    network = Network(PAIR)

    def tap(passing: Passing) -> Passing:
        forger(network, passing)
        return passing

    network.wires.tap = tap
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    network.command("a", "rekey")
    network.run(network.now + 30)
    assert network.all_keyed()
    for name in network.routers:
        assert {event.fields["state"] for event in network.seen("ike", name)} == {"established"}


def test_no_unsealed_datagram_changes_a_local_key_server() -> None:
    network = Network({"a--b": ("a", "b"), "b--c": ("b", "c")}, dks=True)
    kept: list[Passing] = []
    network.wires.tap = lambda passing: (kept.append(passing), passing)[1]
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    network.command("b", "rekey")
    network.run(network.now + 20)
    network.wires.tap = None
    network.run(network.now + 2)
    chosen = random.Random(1)
    sealed = [each for each in kept if parse_header(each.datagram.data).exchange != 34]
    for passing in chosen.sample(sealed, min(60, len(sealed))):
        core = network.nodes[passing.receiver].core
        before = digest(core)
        data = bytearray(passing.datagram.data)
        place = chosen.choice([8, 16, 18, 19, 23, len(data) - 1])
        data[place] ^= 1 << chosen.randrange(8)
        for octets in (bytes(data), passing.datagram.data):
            timer = core.next_timer()  # type: ignore[union-attr]
            core.receive(replace(passing.datagram, data=octets), network.now)  # type: ignore[union-attr]
            assert digest(core) == before, place
            assert core.next_timer() == timer  # type: ignore[union-attr]


def test_a_neighbour_that_picks_the_proposal_without_key_wrap_ends_no_local_key_server() -> None:
    lifetimes = Lifetimes(group_s=3600, ike_s=60)
    network = Network(PAIR, settings=Settings(validity_s=1 << 33, lifetimes=lifetimes))
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    for link in network.lks("b").link.values():
        party = link._endpoint._party
        party.config = replace(party.config, offers=(PLAIN,), ike_lifetime_s=0.0)
        for sa in party.by_spi.values():
            sa.rekey_at = None
    for _ in range(6):
        network.run(network.now + 20)
        network.command("a", "rekey")
    network.run(network.now + 10)
    assert network.all_keyed()
