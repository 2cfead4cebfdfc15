"""Runs agents' cores on a modelled network: an event queue, seeded delays and faults, power failures.

Datagrams are lost, doubled and overtaken by others; segments are cut; nodes lose their power, also between any
two effects. A node's files live through that as far as they were persisted; its core and kernel do not. The
kernel is modelled by the SPD and SAD that agents.ipsec.plan makes of what was asked for.
Broadcast domains only, no routing: whoever is in no common segment hears nothing, except a party that
is reached through `remote` (a DKS behind a routed network). Knows nothing of protocols.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.ikev2.model import Datagram, PeerAddress
from agents.ipsec.protection import IPAddress
from agents.runtime.asyncio_driver import Core
from agents.runtime.effects import Effect, Event, Kernel, Persist, Send
from agents.runtime.links import LinkState

Files = dict[str, bytes]
Build = Callable[["Node"], Core]


@dataclass
class Node:
    """One machine. `interfaces`: name → (address, segment)."""

    name: str
    build: Build
    interfaces: dict[str, tuple[str, str]]
    files: Files = field(default_factory=dict)
    core: Core | None = None
    kernel: Kernel | None = None
    kernels: list[tuple[float, Kernel]] = field(default_factory=list)
    sent: int = 0
    up: bool = True
    boots: int = 0
    effects: int = 0
    """Executed since the last boot."""
    crash_at: int | None = None
    """Loses its power, once, instead of executing this effect (0: the first one after a boot)."""
    sequences: dict[tuple[int, IPAddress], int] = field(default_factory=dict)

    def sequence(self, spi: int, destination: IPAddress) -> int:
        """As KeyPort.sequence."""
        if self.kernel is None or not any(sa.spi == spi and sa.outbound for sa in self.kernel.sas):
            raise LookupError(spi)
        return self.sequences.get((spi, destination), 0)


@dataclass(frozen=True)
class Seen:
    """One event of one node."""

    t: float
    node: str
    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Passing:
    """One datagram on its way."""

    sender: str
    receiver: str
    interface: str
    datagram: Datagram


class Simulation:
    """All nodes and what is between them. Times in seconds."""

    def __init__(
        self,
        seed: int = 1,
        *,
        delay_s: float = 0.002,
        loss: float = 0.0,
        duplicate: float = 0.0,
        overtake: float = 0.0,
    ) -> None:
        """`loss`, `duplicate`, `overtake`: how likely it is that a datagram is lost, comes twice, or takes up to
        a hundred times as long as others."""
        self.now = 0.0
        self.nodes: dict[str, Node] = {}
        self.events: list[Seen] = []
        self.delay_s, self.loss, self.duplicate, self.overtake = delay_s, loss, duplicate, overtake
        self.jitter = 1.0
        """By up to which part of `delay_s` a datagram takes longer."""
        self.cut: set[str] = set()
        """Segments that nothing passes, and nobody notices: silent blackholes."""
        self.remote: dict[str, str] = {}
        """Address → node that is reached from everywhere, and whose answers reach everyone."""
        self.routed: dict[str, str] = {}
        """Address → node of loopbacks, between which the network carries what is sent to no interface in particular,
        unless the segment "routed" is cut."""
        self.tap: Callable[[Passing], Passing | None] | None = None
        self.faults_wanted = False
        """Whether a fault of a core is only put on record, as its daemon does, and not raised."""
        self._random = random.Random(seed)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._timers: dict[str, int] = {}

    def add(self, node: Node) -> Node:
        """A machine, without power at first."""
        self.nodes[node.name] = node
        return node

    def octets(self, count: int) -> bytes:
        """Seeded randomness for cores."""
        return self._random.randbytes(count)

    # -- time ----------------------------------------------------------------------------------------

    def at(self, when: float, job: Callable[[], None]) -> None:
        """Do this then."""
        heapq.heappush(self._queue, (max(when, self.now), next(self._number), job))

    def run(self, until: float, done: Callable[[], bool] | None = None) -> bool:
        """Let time pass; True as soon as `done` holds, False when it did not by `until`."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _number, job = heapq.heappop(self._queue)
            job()
            if done is not None and done():
                return True
        self.now = max(self.now, until)
        return done() if done is not None else False

    # -- power ---------------------------------------------------------------------------------------

    def stop(self, name: str) -> None:
        """End a node's agent in order, then its power."""
        node = self.nodes[name]
        if node.core is not None:
            node.core.stop(self.now)
            self._after(node)
        self.power_off(name)

    def power_on(self, name: str) -> None:
        """Start a node's core from its files."""
        node = self.nodes[name]
        node.boots += 1
        node.effects = 0
        node.core = node.build(node)
        node.core.links(self._links(node), self.now)
        node.core.start(self.now)
        self._after(node)

    def power_off(self, name: str) -> None:
        """Lose core and kernel; files stay."""
        node = self.nodes[name]
        node.core, node.kernel = None, None
        node.sequences.clear()

    def set_interfaces(self, name: str, up: bool) -> None:
        """All interfaces of a node go up or down."""
        node = self.nodes[name]
        node.up = up
        if node.core is not None:
            node.core.links(self._links(node), self.now)
            self._after(node)

    def _links(self, node: Node) -> dict[str, LinkState]:
        return {
            name: LinkState(index, node.up, frozenset({address}))
            for index, (name, (address, _segment)) in enumerate(node.interfaces.items(), 1)
        }

    # -- effects -------------------------------------------------------------------------------------

    def _after(self, node: Node) -> None:
        if node.core is None:
            return
        for effect in node.core.take():
            if node.effects == node.crash_at:
                node.crash_at = None
                self.power_off(node.name)
                return
            node.effects += 1
            self._do(node, effect)
            if node.core is None:
                return
        when = node.core.next_timer()
        number = next(self._number)
        self._timers[node.name] = number
        if when is not None:
            core = node.core
            self.at(when, lambda: self._tick(node, core, number))

    def _tick(self, node: Node, core: Core, number: int) -> None:
        if node.core is core and self._timers[node.name] == number:
            core.tick(self.now)
            self._after(node)

    def _do(self, node: Node, effect: Effect) -> None:
        if isinstance(effect, Persist):
            node.files[effect.name] = effect.data
        elif isinstance(effect, Kernel):
            effect.wanted()  # raises for what no kernel could hold
            node.kernel = effect
            node.kernels.append((self.now, effect))
            if node.core is not None:
                node.core.enforced(effect, self.now)
        elif isinstance(effect, Event):
            if effect.kind == "fault" and not self.faults_wanted:
                raise RuntimeError(f"{node.name}: {dict(effect.fields)}")
            self.events.append(Seen(self.now, node.name, effect.kind, effect.fields))
        elif isinstance(effect, Send):
            node.sent += 1
            self._send(node, effect)

    def _send(self, node: Node, effect: Send) -> None:
        peer = effect.peer
        remote = self.remote.get(peer.ip)
        if not peer.interface and peer.ip in self.routed:
            if "routed" not in self.cut and self.routed.get(peer.local_ip) == node.name and node.up:
                other = self.nodes[self.routed[peer.ip]]
                self._pass(node, other, next(iter(other.interfaces)), peer.local_ip, effect, hops=60)
        elif remote is not None:
            source = next(iter(node.interfaces.values()))[0]
            self._pass(node, self.nodes[remote], "", source, effect, hops=60)
        elif node.name in self.remote.values():
            local = next(address for address, name in self.remote.items() if name == node.name)
            for other in self.nodes.values():
                for interface, (address, _segment) in other.interfaces.items():
                    if address == peer.ip:
                        self._pass(node, other, interface, local, effect, hops=60)
        elif peer.interface in node.interfaces and node.up:
            address, segment = node.interfaces[peer.interface]
            if segment in self.cut:
                return
            for other in self.nodes.values():
                for interface, (theirs, their_segment) in other.interfaces.items():
                    if (theirs, their_segment) == (peer.ip, segment) and other.up:
                        self._pass(node, other, interface, address, effect, hops=255)

    def _pass(self, node: Node, other: Node, interface: str, source: str, effect: Send, *, hops: int) -> None:
        if self._random.random() < self.loss:
            return
        peer = PeerAddress(source, 848, effect.peer.ip, interface, 848)
        passing: Passing | None = Passing(node.name, other.name, interface, Datagram(effect.data, peer, hops))
        if self.tap is not None and passing is not None:
            passing = self.tap(passing)
        if passing is not None:
            datagram = passing.datagram
            for _copy in range(2 if self._random.random() < self.duplicate else 1):
                slow = 100 * self._random.random() if self._random.random() < self.overtake else 0.0
                delay_s = self.delay_s * (1 + self.jitter * self._random.random() + slow)
                self.at(self.now + delay_s, lambda: self.deliver(other.name, datagram))

    def deliver(self, name: str, datagram: Datagram) -> None:
        """Hand a datagram to a node, as if it had come in."""
        node = self.nodes[name]
        if node.core is not None and (node.up or not datagram.peer.interface):
            node.core.receive(datagram, self.now)
            self._after(node)

    def command(self, name: str, *words: str) -> Mapping[str, Any]:
        """An administrator's command to a node that is on. CommandRefused."""
        node = self.nodes[name]
        assert node.core is not None
        answer = node.core.command(words, self.now)
        self._after(node)
        return answer

    # -- what happened -------------------------------------------------------------------------------

    def seen(self, kind: str, node: str | None = None, **fields: Any) -> list[Seen]:
        """Events of this kind with these fields."""
        return [
            each
            for each in self.events
            if each.kind == kind
            and node in (None, each.node)
            and all(each.fields.get(name) == value for name, value in fields.items())
        ]
