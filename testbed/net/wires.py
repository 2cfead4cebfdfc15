"""The wires: what is between the nodes, in a namespace of its own.

Every segment is a bridge, every interface of a node the far end of a port of it. An interface is
known by its node and its name there; its port has the interface's label (r1-eth0), or a short name
where that has too many characters. So a node's own interface is never touched by a fault in its link: the wire
goes dark (port down: no carrier at the node), slow (netem on the port, towards the node) or
swallows everything (netem loss 100 %) by itself. On a point-to-point segment the light of one
end is the other end's interface: a port is up only while the opposite interface is.

It must not know what a router or a fault timeline is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from testbed.errors import InputError
from testbed.net.namespace import Namespace
from testbed.net.runner import batch
from testbed.topology.resolved import DEFAULT_MTU, label

LONGEST_DEVICE = 15
"""Characters that Linux allows in the name of an interface."""


@dataclass
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


@dataclass
class Port:
    """A node's interface, and the end of the wire that it is plugged into."""

    node: str
    name: str
    mac: str
    namespace: Namespace
    lit: bool = False
    """The node's interface is up, and so sends light."""
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
    dark: bool = False
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
            for place, port in enumerate(segment.ports):
                port.bridge = segment.bridge
                port.device = port.label if len(port.label) <= LONGEST_DEVICE else f"{segment.bridge}e{place}"
                if (port.node, port.name) in self._ports:
                    raise InputError(f"two interfaces of {port.node} are called {port.name!r}")
                self._ports[port.node, port.name] = (segment, port)
                port.up = self._wanted(segment, port)
                state = "up " if port.up else ""
                lines.append(
                    f"link add {port.device} {_mtu(widest)}master {segment.bridge} {state}type veth"
                    f" peer name {port.name} {_mtu(port.mtu)}address {port.mac} netns {port.namespace.pid}"
                )
            shaping += self._shape(segment)
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

    # -- light

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

    def carrier(self, name: str, on: bool) -> None:
        """Cut a segment so that both ends notice, or mend it."""
        segment = self.segment(name)
        segment.dark = not on
        self._light([segment])

    @staticmethod
    def _wanted(segment: WireSegment, port: Port) -> bool:
        if segment.dark:
            return False
        if not segment.point_to_point:
            return True
        return all(other.lit for other in segment.ports if other is not port)

    def _light(self, segments: Iterable[WireSegment]) -> None:
        lines = []
        for segment in segments:
            for port in segment.ports:
                wanted = self._wanted(segment, port)
                if wanted != port.up:
                    port.up = wanted
                    lines.append(f"link set {port.device} {'up' if wanted else 'down'}")
        batch("ip", lines, namespace=self.namespace)

    # -- what happens to packets

    def blackhole(self, name: str, on: bool) -> None:
        """Let a segment swallow every packet, silently, both ways; or no more."""
        segment = self.segment(name)
        segment.blackhole = on
        batch("tc", self._shape(segment, replace=True), namespace=self.namespace)

    def set_netem(self, name: str, **changes: float | None) -> None:
        """Change delay_ms, jitter_ms, loss_percent, rate_mbps of a segment."""
        segment = self.segment(name)
        for key, value in changes.items():
            if not hasattr(segment.netem, key):
                raise InputError(
                    f"a wire has no {key!r}",
                    allowed="delay_ms, jitter_ms, loss_percent, rate_mbps",
                )
            setattr(segment.netem, key, value)
        batch("tc", self._shape(segment, replace=True), namespace=self.namespace)

    def partition(self, side: Callable[[str], int]) -> list[str]:
        """Separate, on every segment, nodes of different sides: nothing passes, and none notices.

        `side(node)` numbers a node's side; all on one side joins everything again. Returns
        the names of the segments that changed.
        """
        lines: list[str] = []
        changed: list[str] = []
        for segment in self.segments.values():
            sides = sorted({side(port.node) for port in segment.ports})
            bridges = {
                number: segment.bridge if place == 0 else f"{segment.bridge}p{number}"
                for place, number in enumerate(sides)
            }
            for bridge in bridges.values():
                if bridge != segment.bridge and bridge not in self._extra_bridges:
                    self._extra_bridges.add(bridge)
                    lines.append(_bridge_line(bridge))
            moved = False
            for port in segment.ports:
                bridge = bridges[side(port.node)]
                if port.bridge != bridge:
                    port.bridge, moved = bridge, True
                    lines.append(f"link set {port.device} master {bridge}")
            if moved:
                changed.append(segment.name)
        batch("ip", lines, namespace=self.namespace)
        return changed

    def _shape(self, segment: WireSegment, replace: bool = False) -> list[str]:
        words = "limit 20000 loss 100%" if segment.blackhole else segment.netem.words()
        if words:
            verb = "replace" if replace else "add"
            return [f"qdisc {verb} dev {port.device} root netem {words}" for port in segment.ports]
        if replace:
            # Replacing keeps no packet of the old state, and needs no memory of it.
            return [f"qdisc replace dev {port.device} root pfifo limit 1000" for port in segment.ports]
        return []

    def close(self) -> None:
        """Let the wires go."""
        self.namespace.close()


def _mtu(octets: int) -> str:
    return "" if octets == DEFAULT_MTU else f"mtu {octets} "


def _bridge_line(name: str) -> str:
    return f"link add {name} up type bridge mcast_snooping 0 stp_state 0 forward_delay 0"
