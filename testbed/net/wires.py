"""The wires: what is between the nodes, in a namespace of its own.

Every segment is a bridge, every interface of a node the far end of a port of it. An interface is
known by its node and its name there; its port has the interface's label (r1-eth0), or a short name
where that has too many characters. So a node's own interface is never touched by a fault in its link: the wire
loses its carrier (port down: no carrier at the node), slow (netem on the port, towards the node) or
swallows everything (netem loss 100 %) by itself. On a point-to-point segment the carrier of one
end is the other end's interface: a port is up only while the opposite interface is.

It must not know what a router or a fault timeline is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from testbed.errors import EnvironmentFailure, InputError, LabError
from testbed.net.namespace import Namespace
from testbed.net.runner import batch
from testbed.topology.resolved import DEFAULT_MTU, label

LONGEST_DEVICE = 15
"""Characters that Linux allows in the name of an interface."""


@dataclass(frozen=True)
class Netem:
    """What a wire does to packets, each way."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_percent: float = 0.0
    rate_mbps: float | None = None

    def words(self) -> str:
        """As `tc` wants it; empty for an ideal wire."""
        words = ""
        if self.delay_ms or self.jitter_ms:
            words += f" delay {self.delay_ms}ms"
            if self.jitter_ms:
                words += f" {self.jitter_ms}ms"
        if self.loss_percent:
            words += f" loss {self.loss_percent}%"
        if self.rate_mbps:
            words += f" rate {self.rate_mbps}mbit"
        return words and f"limit 20000{words}"

    @classmethod
    def read(cls, printed: Mapping[str, Any]) -> Netem:
        """What `tc -j qdisc show` says of a port's qdisc."""
        options = printed.get("options", {}) if printed.get("kind") == "netem" else {}
        delay, rate = options.get("delay", {}), options.get("rate", {}).get("rate")
        return cls(
            delay_ms=1000 * delay.get("delay", 0.0),
            jitter_ms=1000 * delay.get("jitter", 0.0),
            loss_percent=100 * options.get("loss-random", {}).get("loss", 0.0),
            rate_mbps=None if not rate else rate * 8 / 1e6,
        )

    def like(self, other: Netem) -> bool:
        """Whether both are the same in what `tc` prints: few digits, and no jitter beside a delay of 0."""
        pairs = zip(asdict(self).items(), asdict(other).values(), strict=True)
        return all(
            math.isclose(one or 0.0, two or 0.0, rel_tol=1e-4, abs_tol=1e-5)
            or (name == "jitter_ms" and not other.delay_ms)
            for (name, one), two in pairs
        )


@dataclass
class Port:
    """A node's interface, and the end of the wire that it is plugged into."""

    node: str
    name: str
    mac: str
    namespace: Namespace
    lit: bool = False
    """The node's interface is up, and so the other end has a carrier."""
    up: bool = True
    """The wire's end is up, as last set."""
    bridge: str = ""
    """What the wire's end is plugged into."""
    mtu: int = DEFAULT_MTU
    """The largest packet in octets that the node's interface sends and receives. The wire itself carries any."""
    device: str = ""
    """What the wire's end is called in the namespace of the wires."""

    @property
    def label(self) -> str:
        """What the interface is called outside its node."""
        return label(self.node, self.name)


@dataclass
class WireSegment:
    """A segment: its ports, what it does to packets, and what is wrong with it."""

    name: str
    point_to_point: bool
    ports: list[Port]
    netem: Netem
    cut: bool = False
    blackhole: bool = False
    bridge: str = ""


class Wires:
    """All segments of a laboratory."""

    def __init__(self) -> None:
        self.namespace = Namespace("wires")
        self.namespace.sysctl({"ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1})
        self.segments: dict[str, WireSegment] = {}
        self._ports: dict[tuple[str, str], tuple[WireSegment, Port]] = {}
        self._extra_bridges: set[str] = set()

    def build(self, segments: Iterable[WireSegment]) -> None:
        """Make the wires, all in one go. Every interface of a node is down afterwards."""
        lines: list[str] = []
        shaping: list[str] = []
        for number, segment in enumerate(segments):
            segment.bridge = f"w{number}"
            self.segments[segment.name] = segment
            lines.append(_bridge_line(segment.bridge))
            widest = max((port.mtu for port in segment.ports), default=DEFAULT_MTU)
            for index, port in enumerate(segment.ports):
                port.bridge = segment.bridge
                port.device = port.label if len(port.label) <= LONGEST_DEVICE else f"{segment.bridge}e{index}"
                if (port.node, port.name) in self._ports:
                    raise InputError(f"two interfaces of {port.node} are called {port.name!r}")
                self._ports[port.node, port.name] = (segment, port)
                port.up = self._wanted(segment, port)
                state = "up " if port.up else ""
                lines.append(
                    f"link add {port.device} {_mtu(widest)}master {segment.bridge} {state}type veth"
                    f" peer name {port.name} {_mtu(port.mtu)}address {port.mac} netns {port.namespace.pid}"
                )
            shaping += _shape(segment, segment.netem, segment.blackhole, new=True)
        batch("ip", lines, namespace=self.namespace)
        batch("tc", shaping, namespace=self.namespace)

    def segment(self, name: str) -> WireSegment:
        """The segment of this name. InputError names those there are."""
        try:
            return self.segments[name]
        except KeyError:
            raise InputError(f"there is no segment {name!r}", allowed=", ".join(sorted(self.segments))) from None

    @property
    def devices(self) -> dict[str, str]:
        """Of every interface by its label: the name of its port in the namespace of the wires."""
        return {port.label: port.device for _segment, port in self._ports.values()}

    # -- carrier

    def interface_lit(self, node: str, interface: str, lit: bool) -> None:
        """A node's interface went up or down: the other end of its wire sees it."""
        self.set_lit(node, [interface], lit)

    def set_lit(self, node: str, interfaces: Iterable[str], lit: bool) -> None:
        """As `interface_lit`, for many at once."""
        touched: dict[str, WireSegment] = {}
        for name in interfaces:
            if (node, name) in self._ports:
                segment, port = self._ports[node, name]
                if port.lit != lit:
                    port.lit = lit
                    touched[segment.name] = segment
        self._light(touched.values())

    def carrier(self, name: str, on: bool) -> bool:
        """Cut a segment so that both ends notice, or mend it. False when it was so already."""
        segment = self.segment(name)
        if segment.cut is not on:
            return False
        segment.cut = not on
        try:
            self._light([segment])
        except LabError:
            segment.cut = on
            raise
        return True

    @staticmethod
    def _wanted(segment: WireSegment, port: Port) -> bool:
        if segment.cut:
            return False
        if not segment.point_to_point:
            return True
        return all(other.lit for other in segment.ports if other is not port)

    def _light(self, segments: Iterable[WireSegment]) -> None:
        changed = [
            (port, wanted)
            for segment in segments
            for port in segment.ports
            if (wanted := self._wanted(segment, port)) != port.up
        ]
        self.namespace.set_links({port.device: wanted for port, wanted in changed})
        for port, wanted in changed:
            port.up = wanted

    def _all_or_nothing(self, program: str, lines: list[str], back: list[str]) -> str:
        """Do all lines, and give what was printed. When one fails, do all of `back` and raise its error."""
        try:
            return batch(program, lines, namespace=self.namespace).stdout
        except LabError:
            batch(program, back, namespace=self.namespace, force=True)
            raise

    # -- what happens to packets

    def blackhole(self, name: str, on: bool) -> bool:
        """Let a segment swallow every packet, silently, both ways; or no more. False when it was so already."""
        segment = self.segment(name)
        if segment.blackhole is on:
            return False
        self._reshape(segment, segment.netem, on)
        return True

    def set_netem(self, name: str, **changes: float | None) -> None:
        """Change delay_ms, jitter_ms, loss_percent, rate_mbps of a segment. What was in force stays in force when the
        kernel does not take or does not keep the new values: CommandFailed, EnvironmentFailure."""
        segment = self.segment(name)
        for key in changes.keys() - asdict(segment.netem).keys():
            raise InputError(f"a wire has no {key!r}", allowed=", ".join(asdict(segment.netem)))
        self._reshape(segment, replace(segment.netem, **changes), segment.blackhole)  # type: ignore[arg-type]

    def _reshape(self, segment: WireSegment, netem: Netem, blackhole: bool) -> None:
        """Set what a segment does to packets, at all its ports, and look whether the kernel has it."""
        before = _shape(segment, segment.netem, segment.blackhole, new=False)
        lines = _shape(segment, netem, blackhole, new=False)
        # The same process that sets the values reads them back.
        output = self._all_or_nothing(
            "tc -j", [*lines, *(f"qdisc show dev {port.device}" for port in segment.ports)], before
        )
        wanted = Netem(loss_percent=100.0) if blackhole else netem
        for port, printed in zip(segment.ports, _printed(output), strict=True):
            if not Netem.read(printed).like(wanted):
                batch("tc", before, namespace=self.namespace, force=True)
                raise EnvironmentFailure(
                    f"the kernel keeps {Netem.read(printed)} at {port.label}", where=segment.name, allowed=str(wanted)
                )
        segment.netem, segment.blackhole = netem, blackhole

    def netem(self, name: str) -> list[Netem]:
        """What the kernel does to packets at each port of a segment now."""
        lines = [f"qdisc show dev {port.device}" for port in self.segment(name).ports]
        return [Netem.read(each) for each in _printed(batch("tc -j", lines, namespace=self.namespace).stdout)]

    def partition(self, side: Callable[[str], int]) -> list[str]:
        """Separate, on every segment, nodes of different sides: nothing passes, and none notices.

        `side(node)` numbers a node's side; all on one side joins everything again. Returns
        the names of the segments that changed.
        """
        lines: list[str] = []
        back: list[str] = []
        changed: list[str] = []
        moved: list[tuple[Port, str]] = []
        made: set[str] = set()
        for segment in self.segments.values():
            sides = sorted({side(port.node) for port in segment.ports})
            bridges = {
                number: segment.bridge if index == 0 else f"{segment.bridge}p{number}"
                for index, number in enumerate(sides)
            }
            for bridge in bridges.values():
                if bridge != segment.bridge and bridge not in self._extra_bridges:
                    made.add(bridge)
                    lines.append(_bridge_line(bridge))
            going = [(port, bridges[side(port.node)]) for port in segment.ports]
            going = [(port, bridge) for port, bridge in going if port.bridge != bridge]
            lines += [f"link set {port.device} master {bridge}" for port, bridge in going]
            back += [f"link set {port.device} master {port.bridge}" for port, _ in going]
            moved += going
            if going:
                changed.append(segment.name)
        self._all_or_nothing("ip", lines, [*back, *(f"link del {bridge}" for bridge in sorted(made))])
        self._extra_bridges |= made
        for port, bridge in moved:
            port.bridge = bridge
        return changed

    def close(self) -> None:
        """Let the wires go."""
        self.namespace.close()


def _mtu(octets: int) -> str:
    return "" if octets == DEFAULT_MTU else f"mtu {octets} "


def _bridge_line(name: str) -> str:
    return f"link add {name} up type bridge mcast_snooping 0 stp_state 0 forward_delay 0"


def _shape(segment: WireSegment, netem: Netem, blackhole: bool, *, new: bool) -> list[str]:
    """The lines for `tc` that make a segment so. `new`: its ports have no qdisc of ours yet."""
    words = "limit 20000 loss 100%" if blackhole else netem.words()
    if words and not new and (blackhole or not netem.rate_mbps):
        words += " rate 0bit"  # netem that is told of no rate keeps the one it has
    if words:
        return [f"qdisc {'add' if new else 'replace'} dev {port.device} root netem {words}" for port in segment.ports]
    # Replacing keeps no packet of the old state, and needs no memory of it.
    return [] if new else [f"qdisc replace dev {port.device} root pfifo limit 1000" for port in segment.ports]


def _printed(text: str) -> Iterator[dict[str, Any]]:
    """The objects in what `tc -j -batch` printed: a list for each line that shows something."""
    decoder, text = json.JSONDecoder(), text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        yield from value
        text = text[end:].strip()
