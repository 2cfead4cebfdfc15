"""Good inputs to begin from, taken from real exchanges of our own parties, and parties to feed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache
from unittest.mock import patch

from agents.ikev2 import Datagram, IkeConfig, IkeEndpoint, LocalIdentity, Payload, PeerAddress, PeerKey, Send
from agents.ikev2.codec.payloads import Identification
from agents.ikev2.registry import ExchangeType
from agents.ikev2.sa import IkeSa
from agents.policy.keys import spki
from testbed.simulation.network import Network
from testbed.simulation.parties import key

A, B = PeerAddress("10.0.0.2", 848, "10.0.0.1", "e0", 848), PeerAddress("10.0.0.1", 848, "10.0.0.2", "e0", 848)
"""Where a finds b, and where b finds a."""


def endpoint(name: str, peer: str) -> IkeEndpoint:
    """A party with seeded randomness that knows the other's key."""
    return IkeEndpoint(
        LocalIdentity(Identification.key_id(name), key(name)),
        lambda claimed, credential, address: PeerKey.from_spki(spki(key(peer))),
        random=random.Random(name).randbytes,
        config=IkeConfig(hop_limit=255),
        auth_exchange=ExchangeType.GSA_AUTH,
    )


def router_in_handshake(data: bytes) -> tuple[IkeEndpoint, Datagram]:
    """A router that has asked its neighbour and waits for the answer, and a datagram for it."""
    asking = endpoint("a", "b")
    asking.connect(A, Identification.key_id("b"), [], 0.0)
    asking.take()
    return asking, Datagram(data, A, 255)


@cache
def _handshake() -> tuple[bytes, ...]:
    asking, answering = endpoint("a", "b"), endpoint("b", "a")
    asking.connect(A, Identification.key_id("b"), [], 0.0)
    datagrams: list[bytes] = []
    for _turn in range(4):
        for sender, receiver, peer in ((asking, answering, B), (answering, asking, A)):
            for effect in sender.take():
                if isinstance(effect, Send):
                    datagrams.append(effect.data)
                    receiver.receive(Datagram(effect.data, peer, 255), 0.0)
    return tuple(datagrams)


def handshake() -> Iterator[bytes]:
    """The datagrams of a handshake."""
    yield from _handshake()


@cache
def _exchanged() -> tuple[Payload, ...]:
    by_kind: dict[tuple[int, int], Payload] = {}
    seal = IkeSa.seal

    def spy(self: IkeSa, exchange: int, message_id: int, response: bool, payloads: Sequence[Payload]) -> list[bytes]:
        for payload in payloads:
            by_kind.setdefault((int(payload.payload_type), len(payload.body())), payload)
        return seal(self, exchange, message_id, response, payloads)

    with patch.object(IkeSa, "seal", spy):
        network = Network({"lan": ("a", "b", "c")}, dks=True)
        network.power_on_all()
        network.run(3)
        network.command("a", "rekey")
        network.run(700)
    return tuple(by_kind.values())


def exchanged() -> Iterator[Payload]:
    """A payload of each type and length that three routers and a DKS send each other."""
    yield from _exchanged()


@cache
def network_samples() -> Network:
    """Three routers on a LAN, whose documents and states are good inputs."""
    network = Network({"lan": ("a", "b", "c")})
    network.power_on_all()
    network.run(2)
    return network
