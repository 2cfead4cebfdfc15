"""What carries datagrams between simulated nodes: reliably (`Direct`), or with faults (`Lossy`).

Broadcast domains only, no routing: whoever is in no common segment hears nothing, except a party that is reached from
everywhere (a DKS behind a routed network), and loopbacks between which a network is taken to carry. Knows nothing of
what datagrams mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agents.ikev2.model import Datagram, PeerAddress
from agents.runtime.effects import Send
from testbed.simulation.simulation import Node, Simulation

PORT = 848
ON_LINK, ROUTED = 255, 60
"""Hop limits with which datagrams come in."""


@dataclass(frozen=True)
class Passing:
    """One datagram on its way."""

    sender: str
    receiver: str
    interface: str
    datagram: Datagram


class Direct:
    """Every datagram comes, after up to twice the delay. `remote`: address → node reached from everywhere. For domains
    of any size: owners of addresses are looked up, once all nodes are `joined`."""

    def __init__(self, simulation: Simulation, remote: dict[str, str], delay_s: float = 0.002) -> None:
        self._simulation, self._remote, self.delay_s = simulation, remote, delay_s
        self._owners: dict[str, tuple[Node, str]] = {}

    def join(self, node: Node, loopback: str) -> None:
        """A node with its interfaces' addresses, and one that belongs to none."""
        for interface, (address, _segment) in node.interfaces.items():
            self._owners[address] = (node, interface)
        self._owners[loopback] = (node, "")

    def send(self, node: Node, effect: Send) -> None:
        """As Wires."""
        peer = effect.peer
        own = next((address for address, name in self._remote.items() if name == node.name), None)
        if own is not None or not peer.interface:  # a pair's go over several hops, as if routing were there at once
            self._carry(peer.ip, effect.data, own or peer.local_ip, "", ROUTED)
            return
        source, segment = node.interfaces[peer.interface]
        other, interface = self._owners[peer.ip]
        if other.interfaces[interface][1] == segment and other.up:
            self._carry(peer.ip, effect.data, source, interface, ON_LINK)

    def _carry(self, address: str, data: bytes, source: str, interface: str, hops: int) -> None:
        name = self._owners[address][0].name
        datagram = Datagram(data, PeerAddress(source, PORT, address, interface, PORT), hops)
        self.after_delay(lambda: self._simulation.deliver(name, datagram))

    def after_delay(self, job: Callable[[], None]) -> None:
        """When something that leaves now arrives."""
        simulation = self._simulation
        simulation.at(simulation.now + self.delay_s * (1 + simulation.random.random()), job)


class Lossy:
    """Datagrams are lost, doubled and overtaken by others, segments are cut, and somebody may listen or change them.
    `loss`, `duplicate`, `overtake`: how likely it is that a datagram is lost, comes twice, or takes up to a hundred
    times as long as others."""

    def __init__(
        self, simulation: Simulation, *, loss: float = 0.0, duplicate: float = 0.0, overtake: float = 0.0
    ) -> None:
        self._simulation = simulation
        self.loss, self.duplicate, self.overtake = loss, duplicate, overtake
        self.delay_s = 0.002
        self.jitter = 1.0
        """By up to which part of `delay_s` a datagram takes longer."""
        self.cut: set[str] = set()
        """Segments that nothing passes, and nobody notices: silent blackholes."""
        self.sides: dict[str, int] = {}
        """Nodes between which nothing passes, and nobody notices: those of different numbers; the others are of 0."""
        self.remote: dict[str, str] = {}
        """Address → node that is reached from everywhere, and whose answers reach everyone."""
        self.routed: dict[str, str] = {}
        """Address → node of loopbacks, between which the network carries what is sent to no interface in particular,
        unless the segment "routed" is cut."""
        self.tap: Callable[[Passing], Passing | None] | None = None
        """Sees each datagram, and gives what goes on instead of it."""

    def send(self, node: Node, effect: Send) -> None:
        """As Wires."""
        peer, nodes = effect.peer, self._simulation.nodes
        remote = self.remote.get(peer.ip)
        if not peer.interface and peer.ip in self.routed:
            if "routed" not in self.cut and self.routed.get(peer.local_ip) == node.name and node.up:
                other = nodes[self.routed[peer.ip]]
                self._pass(node, other, next(iter(other.interfaces)), peer.local_ip, effect, ROUTED)
        elif remote is not None:
            source = next(iter(node.interfaces.values()))[0]
            self._pass(node, nodes[remote], "", source, effect, ROUTED)
        elif node.name in self.remote.values():
            local = next(address for address, name in self.remote.items() if name == node.name)
            for other in nodes.values():
                for interface, (address, _segment) in other.interfaces.items():
                    if address == peer.ip:
                        self._pass(node, other, interface, local, effect, ROUTED)
        elif peer.interface in node.interfaces and node.up:
            address, segment = node.interfaces[peer.interface]
            if segment in self.cut:
                return
            for other in nodes.values():
                for interface, (theirs, their_segment) in other.interfaces.items():
                    if (theirs, their_segment) == (peer.ip, segment) and other.up:
                        self._pass(node, other, interface, address, effect, ON_LINK)

    def parted(self, one: str, other: str) -> bool:
        """Whether a partition is between these nodes."""
        return self.sides.get(one, 0) != self.sides.get(other, 0)

    def _pass(self, node: Node, other: Node, interface: str, source: str, effect: Send, hops: int) -> None:
        simulation = self._simulation
        if self.parted(node.name, other.name) or simulation.random.random() < self.loss:
            return
        peer = PeerAddress(source, PORT, effect.peer.ip, interface, PORT)
        passing: Passing | None = Passing(node.name, other.name, interface, Datagram(effect.data, peer, hops))
        if self.tap is not None and passing is not None:
            passing = self.tap(passing)
        if passing is not None:
            datagram, draw = passing.datagram, simulation.random.random
            for _copy in range(2 if draw() < self.duplicate else 1):
                slow = 100 * draw() if draw() < self.overtake else 0.0
                delay_s = self.delay_s * (1 + self.jitter * draw() + slow)
                simulation.at(simulation.now + delay_s, lambda: simulation.deliver(other.name, datagram))
