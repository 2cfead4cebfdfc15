"""Handshakes as an initiator: one after the other over a real socket, against any responder.

The same code asks our DKS and strongSwan's charon, so that what differs is the responder.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.ikev2 import (
    Closed,
    Datagram,
    Established,
    Identification,
    IkeConfig,
    IkeEndpoint,
    LocalIdentity,
    Payload,
    PeerAddress,
    PeerKey,
    Send,
)
from agents.ikev2.registry import ExchangeType

TIMEOUT_S = 10.0


class HandshakeFailed(Exception):
    """The responder did not answer, or refused."""


@dataclass
class Target:
    """A responder. `first`: the payloads that a handshake with this identity's number carries besides its own."""

    address: tuple[str, int]
    name: Identification
    key: Ed25519PublicKey
    auth_exchange: ExchangeType
    identity: Callable[[int], LocalIdentity]
    first: Callable[[int], Sequence[Payload]] = field(default=lambda _number: ())
    answered: Callable[[Sequence[Payload]], bool] = field(default=lambda _payloads: True)
    """Whether what came with the handshake is what was asked for."""


class Initiator:
    """One socket. `source`: the local address."""

    def __init__(self, target: Target, source: str = "127.0.0.1") -> None:
        self._target = target
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((source, 0))
        self._socket.settimeout(TIMEOUT_S)
        self._port: int = self._socket.getsockname()[1]
        self._source = source

    def handshake(self, number: int) -> None:
        """IKE_SA_INIT and IKE_AUTH or GSA_AUTH as the identity of this number. HandshakeFailed."""
        target = self._target
        endpoint = IkeEndpoint(
            target.identity(number),
            lambda claimed, _credential, _peer: PeerKey(target.key) if claimed == target.name else None,
            random=os.urandom,
            config=IkeConfig(),
            auth_exchange=target.auth_exchange,
        )
        ip, port = target.address
        peer = PeerAddress(ip, port, self._source, "lo", self._port)
        endpoint.connect(peer, target.name, list(target.first(number)), time.monotonic())
        while True:
            for effect in endpoint.take():
                if isinstance(effect, Send):
                    self._socket.sendto(effect.data, target.address)
                elif isinstance(effect, Established):
                    if not target.answered(effect.payloads):
                        raise HandshakeFailed(f"handshake {number} brought {effect.payloads}")
                    return
                elif isinstance(effect, Closed):
                    raise HandshakeFailed(f"handshake {number}: {effect.reason.value}, notification {effect.notify}")
            try:
                data, _source = self._socket.recvfrom(65535)
            except TimeoutError:
                raise HandshakeFailed(f"handshake {number}: no answer in {TIMEOUT_S:g} s") from None
            endpoint.receive(Datagram(data, peer), time.monotonic())

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
