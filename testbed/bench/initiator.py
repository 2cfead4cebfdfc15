"""Handshakes as an initiator: one after the other over a real socket or many at once, against any responder.

The same code asks our DKS and strongSwan's charon, so that what differs is the responder.
"""

from __future__ import annotations

import os
import selectors
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
    config: IkeConfig = field(default_factory=IkeConfig)
    answered: Callable[[Sequence[Payload]], bool] = field(default=lambda _payloads: True)
    """Whether what came with the handshake is what was asked for."""


class Handshake:
    """IKE_SA_INIT and IKE_AUTH or GSA_AUTH as the identity of this number, from a connected socket of the caller's."""

    def __init__(self, target: Target, number: int, channel: socket.socket) -> None:
        """Sends the first message. OSError."""
        self._target, self._number, self._socket = target, number, channel
        self._endpoint = IkeEndpoint(
            target.identity(number),
            lambda claimed, _credential, _peer: PeerKey(target.key) if claimed == target.name else None,
            random=os.urandom,
            config=target.config,
            auth_exchange=target.auth_exchange,
        )
        source, port = channel.getsockname()
        self._peer = PeerAddress(*target.address, source, "lo", port)
        self._endpoint.connect(self._peer, target.name, list(target.first(number)), time.monotonic())
        self._done()

    def received(self, data: bytes) -> bool:
        """Take the responder's answer; whether the handshake is complete. HandshakeFailed."""
        self._endpoint.receive(Datagram(data, self._peer), time.monotonic())
        return self._done()

    def again(self) -> None:
        """Repeat what is due to be repeated. HandshakeFailed when it is given up."""
        self._endpoint.tick(time.monotonic())
        self._done()

    def _done(self) -> bool:
        for effect in self._endpoint.take():
            if isinstance(effect, Send):
                self._socket.send(effect.data)
            elif isinstance(effect, Established):
                if not self._target.answered(effect.payloads):
                    raise HandshakeFailed(f"handshake {self._number} brought {effect.payloads}")
                return True
            elif isinstance(effect, Closed):
                why = f"{effect.reason.value}, notification {effect.notify}"
                raise HandshakeFailed(f"handshake {self._number}: {why}")
        return False


def connected(target: Target, source: str = "127.0.0.1") -> socket.socket:
    """A socket of its own port to the responder."""
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.bind((source, 0))
    channel.connect(target.address)
    return channel


class Initiator:
    """One handshake after the other over one socket. `source`: the local address."""

    def __init__(self, target: Target, source: str = "127.0.0.1") -> None:
        self._target = target
        self._socket = connected(target, source)
        self._socket.settimeout(TIMEOUT_S)

    def handshake(self, number: int) -> None:
        """HandshakeFailed."""
        one = Handshake(self._target, number, self._socket)
        done = False
        while not done:
            try:
                done = one.received(self._socket.recv(65535))
            except TimeoutError:
                raise HandshakeFailed(f"handshake {number}: no answer in {TIMEOUT_S:g} s") from None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def crowd(
    target: Target, first: int, in_flight: int, since: float, until: float, sources: Sequence[str] = ("127.0.0.1",)
) -> int:
    """So many handshakes at any time, each from a port of its own, numbered from `first`: how many were completed
    between these times (monotonic seconds). `sources`: local addresses that take turns. HandshakeFailed."""
    done, number = 0, first
    with selectors.DefaultSelector() as waiting:

        def begin() -> None:
            nonlocal number
            channel = connected(target, sources[number % len(sources)])
            waiting.register(channel, selectors.EVENT_READ, Handshake(target, number, channel))
            number += 1

        for _each in range(in_flight):
            begin()
        while (left := until - time.monotonic()) > 0:
            for key, _mask in waiting.select(min(left, TIMEOUT_S)):
                channel = key.fileobj
                assert isinstance(channel, socket.socket)
                if key.data.received(channel.recv(65535)):
                    waiting.unregister(channel)
                    channel.close()
                    done += time.monotonic() >= since
                    begin()
        for key in list(waiting.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    return done
