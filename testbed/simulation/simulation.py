"""Agents' cores on virtual time: an event queue, nodes with power and files, and what is composed with them.

What nodes send goes to the simulation's `wires`, and every effect that was done is shown to its observers. A node can
lose its power, also between any two effects. Its files live through that as far as they were persisted; its core and
kernel do not. The kernel is modelled by the SPD and SAD that agents.ipsec.plan makes of what was asked for. Knows
nothing of protocols, nor of who hears whom.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.ikev2.model import Datagram
from agents.ipsec.protection import IPAddress
from agents.runtime.core import Core
from agents.runtime.effects import Effect, Kernel, Persist, Send
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
    """All that were asked for, and when, where a `Record` looks on."""
    sent: int = 0
    up: bool = True
    """Whether its interfaces are."""
    boots: int = 0
    effects: int = 0
    """Executed since the last boot."""
    crash_at: int | None = None
    """Loses its power, once, instead of executing this effect (0: the first one after a boot)."""
    fails: Callable[[Effect], bool] | None = None
    """Asked before each effect: whether it loses its power instead."""
    sequences: dict[tuple[int, IPAddress], int] = field(default_factory=dict)

    def sequence(self, spi: int, destination: IPAddress) -> int:
        """As KeyPort.sequence."""
        if self.kernel is None or not any(sa.spi == spi and sa.outbound for sa in self.kernel.sas):
            raise LookupError(spi)
        return self.sequences.get((spi, destination), 0)

    def links(self) -> dict[str, LinkState]:
        """Its interfaces, as its core is told of them."""
        return {
            name: LinkState(index, self.up, frozenset({address}))
            for index, (name, (address, _segment)) in enumerate(self.interfaces.items(), 1)
        }


class Wires(Protocol):
    """What is between nodes: `testbed.simulation.wires` has some."""

    def send(self, node: Node, effect: Send) -> None:
        """A node sends this."""


class Observer(Protocol):
    """Is shown every effect of every node once it was done."""

    def saw(self, node: Node, effect: Effect) -> None:
        """This one."""


class Simulation:
    """All nodes. Times in seconds. `random`: the randomness of wires and of cores."""

    wires: Wires

    def __init__(self, seed: int = 1) -> None:
        self.now = 0.0
        self.nodes: dict[str, Node] = {}
        self.observers: list[Observer] = []
        self.random = random.Random(seed)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._timers: dict[str, tuple[Core, float]] = {}
        """What each node waits for: a timer in the queue that is not this one is over."""

    def add(self, node: Node) -> Node:
        """A machine, without power at first."""
        self.nodes[node.name] = node
        return node

    def octets(self, count: int) -> bytes:
        """Seeded randomness for cores."""
        return self.random.randbytes(count)

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
            self.after(node)
        self.power_off(name)

    def power_on(self, name: str) -> None:
        """Start a node's core from its files."""
        node = self.nodes[name]
        node.boots += 1
        node.effects = 0
        node.core = node.build(node)
        node.core.links(node.links(), self.now)
        node.core.start(self.now)
        self.after(node)

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
            node.core.links(node.links(), self.now)
            self.after(node)

    # -- effects -------------------------------------------------------------------------------------

    def after(self, node: Node) -> None:
        """A node's core had some input: do all that it asks for, and look when its next timer is due."""
        if node.core is None:
            return
        for effect in node.core.take():
            crash = node.effects == node.crash_at
            if crash or (node.fails is not None and node.fails(effect)):
                node.crash_at = None if crash else node.crash_at
                self.power_off(node.name)
                return
            node.effects += 1
            self.do(node, effect)
            if node.core is None:
                return
        core, when = node.core, node.core.next_timer()
        if when is None:
            self._timers.pop(node.name, None)
            return
        waits = self._timers.get(node.name)
        if waits is not None and waits[0] is core and waits[1] == when:
            return
        waits = self._timers[node.name] = core, when
        self.at(when, lambda: self._tick(node, waits))

    def _tick(self, node: Node, timer: tuple[Core, float]) -> None:
        if self._timers.get(node.name) is timer:
            del self._timers[node.name]
        else:
            return
        core = timer[0]
        if node.core is core:
            core.tick(self.now)
            self.after(node)

    def do(self, node: Node, effect: Effect) -> None:
        """One effect of a node. ValueError for protection that no kernel could hold."""
        if isinstance(effect, Persist):
            node.files[effect.name] = effect.data
        elif isinstance(effect, Kernel):
            node.kernel = effect
            if node.core is not None:
                node.core.enforced(effect, self.now)
        elif isinstance(effect, Send):
            node.sent += 1
            self.wires.send(node, effect)
        for observer in self.observers:
            observer.saw(node, effect)

    def deliver(self, name: str, datagram: Datagram) -> None:
        """Hand a datagram to a node, as if it had come in."""
        node = self.nodes[name]
        if node.core is not None and (node.up or not datagram.peer.interface):
            node.core.receive(datagram, self.now)
            self.after(node)

    def command(self, name: str, *words: str) -> Mapping[str, Any]:
        """An administrator's command to a node that is on. CommandRefused."""
        node = self.nodes[name]
        assert node.core is not None
        answer = node.core.command(words, self.now)
        self.after(node)
        return answer
