"""A network in virtual time for the tests: delay, seeded loss and repeats, and the endpoints on it."""

from __future__ import annotations

import heapq
import itertools
import random as random_module
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from agents.ikev2 import (
    AuthRequest,
    Closed,
    Datagram,
    Established,
    Event,
    Identification,
    IkeConfig,
    IkeEndpoint,
    LocalIdentity,
    PeerAddress,
    PeerKey,
    RequestReceived,
    SaHandle,
    Send,
)
from agents.ikev2.child import ChildPolicy
from agents.ikev2.registry import ExchangeType

E = TypeVar("E", bound=Event)


def ed25519_key(number: int) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))


def p256_key(number: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(number, ec.SECP256R1())


def p384_key(number: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(number, ec.SECP384R1())


@dataclass
class Wire:
    """One datagram as it went: for tests that look at octets."""

    at: float
    source: str
    destination: str
    data: bytes
    retransmission: bool
    lost: bool = False


class Node:
    """One endpoint with its address and all the events that it gave."""

    def __init__(self, net: Net, name: str, ip: str, endpoint: IkeEndpoint) -> None:
        self.net, self.name, self.ip, self.endpoint = net, name, ip, endpoint
        self.events: list[Event] = []
        self.on_event: Callable[[Event], None] | None = None

    def address_of(self, other: Node) -> PeerAddress:
        return PeerAddress(other.ip, 500, self.ip, "eth0", 500)

    def connect(self, other: Node, **options: Any) -> SaHandle:
        first = options.pop("first", [])
        handle = self.endpoint.connect(
            self.address_of(other), Identification.key_id(other.name), first, self.net.now, **options
        )
        self.net.flush(self)
        return handle

    def do(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a command of the endpoint with the present time, and send what it gives."""
        result = getattr(self.endpoint, method)(*arguments, self.net.now, **options)
        self.net.flush(self)
        return result

    def all(self, kind: type[E]) -> list[E]:
        return [item for item in self.events if isinstance(item, kind)]

    def last(self, kind: type[E]) -> E:
        return self.all(kind)[-1]

    @property
    def sa(self) -> SaHandle:
        return self.last(Established).sa


class Net:
    """All nodes, one clock. `loss` and `repeat` are probabilities, drawn from a seed."""

    def __init__(self, seed: int = 1, delay: float = 0.01, loss: float = 0.0, repeat: float = 0.0) -> None:
        self.now = 1000.0
        self.delay, self.loss, self.repeat = delay, loss, repeat
        self.random = random_module.Random(seed)
        self.nodes: dict[str, Node] = {}
        self.wire: list[Wire] = []
        self.filter: Callable[[Wire], bool] | None = None  # False: lost
        self._queue: list[tuple[float, int, Node, Datagram]] = []
        self._order = itertools.count()
        self.keys: dict[Identification, PeerKey] = {}

    def add(
        self,
        name: str,
        config: IkeConfig | None = None,
        auth_exchange: ExchangeType = ExchangeType.IKE_AUTH,
        key: Any = None,
        child_policy: ChildPolicy | None = None,
        hop_limit: int = 255,
    ) -> Node:
        number = len(self.nodes) + 1
        key = ed25519_key(number) if key is None else key
        identity = LocalIdentity(Identification.key_id(name), key)
        self.keys[identity.id] = PeerKey(key.public_key())
        source = random_module.Random(f"{name}/{self.random.random()}")
        endpoint = IkeEndpoint(
            identity,
            lambda ident, credential, peer: self.keys.get(ident),
            random=source.randbytes,
            config=config,
            auth_exchange=auth_exchange,
            child_policy=child_policy,
        )
        node = Node(self, name, f"192.0.2.{number}", endpoint)
        self.nodes[node.ip] = node
        return node

    def flush(self, node: Node) -> None:
        """Put what an endpoint wants to send on the wire, and keep its events."""
        for effect in node.endpoint.take():
            if isinstance(effect, Send):
                self._send(node, effect)
            else:
                node.events.append(effect)
                if node.on_event is not None:
                    node.on_event(effect)
                    self.flush(node)

    def _send(self, node: Node, effect: Send) -> None:
        wire = Wire(self.now, node.ip, effect.peer.ip, effect.data, effect.retransmission)
        self.wire.append(wire)
        if self.random.random() < self.loss or (self.filter is not None and not self.filter(wire)):
            wire.lost = True
            return
        target = self.nodes.get(effect.peer.ip)
        if target is None:
            return
        copies = 2 if self.random.random() < self.repeat else 1
        for _ in range(copies):
            at = self.now + self.delay * (1 + self.random.random())
            peer = PeerAddress(node.ip, 500, target.ip, "eth0", 500)
            heapq.heappush(self._queue, (at, next(self._order), target, Datagram(effect.data, peer, 255)))

    def inject(self, target: Node, data: bytes, source: str = "192.0.2.99", hop_limit: int = 255) -> None:
        """A datagram out of nowhere."""
        target.endpoint.receive(Datagram(data, PeerAddress(source, 500, target.ip, "eth0", 500), hop_limit), self.now)
        self.flush(target)

    def run(self, seconds: float = 60.0, until: Callable[[], bool] | None = None) -> None:
        """Let virtual time pass until nothing is left to do, or `until` holds, or the time is over."""
        end = self.now + seconds
        while until is None or not until():
            timers = [(t, n) for n in self.nodes.values() if (t := n.endpoint.next_timer()) is not None]
            timer = min(timers, key=lambda item: item[0], default=None)
            arrival = self._queue[0][0] if self._queue else None
            if arrival is not None and (timer is None or arrival <= timer[0]):
                if arrival > end:
                    break
                self.now = max(self.now, arrival)
                _, _, target, datagram = heapq.heappop(self._queue)
                if self.nodes.get(target.ip) is target:
                    target.endpoint.receive(datagram, self.now)
                    self.flush(target)
            elif timer is not None:
                if timer[0] > end:
                    break
                self.now = max(self.now, timer[0])
                timer[1].endpoint.tick(self.now)
                self.flush(timer[1])
            else:
                break
        else:
            return
        self.now = max(self.now, end) if until is None else self.now

    def replace(self, node: Node, **options: Any) -> Node:
        """The same party after a reboot: same name, key and address, no state."""
        fresh = self.add(node.name, **options)
        del self.nodes[fresh.ip]
        fresh.ip = node.ip
        self.nodes[node.ip] = fresh
        return fresh


def pair(
    config: IkeConfig | None = None, *, auth: ExchangeType = ExchangeType.IKE_AUTH, **network: Any
) -> tuple[Net, Node, Node]:
    """Two parties with equal settings."""
    net = Net(**network)
    return net, net.add("a", config, auth), net.add("b", config, auth)


def answer_all(node: Node, *payloads: Any) -> None:
    """Let a node's layer above answer every AuthRequest and RequestReceived with these payloads."""

    def on_event(event: Event) -> None:
        if isinstance(event, AuthRequest | RequestReceived):
            node.endpoint.respond(event.token, list(payloads), node.net.now)

    node.on_event = on_event


def established(node: Node) -> bool:
    return bool(node.all(Established)) and not node.all(Closed)
