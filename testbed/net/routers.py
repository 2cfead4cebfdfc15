"""The kinds of nodes that a laboratory has, and how Mininet gets to know their wires."""

from __future__ import annotations

import shlex
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, Any

from mininet.node import Node

from testbed.net.frr import FrrInstance
from testbed.net.node import LabNode, LabRouter, Wire, add_interface
from testbed.net.vty import Vty
from testbed.topology.resolved import RECEIVERS, of_stub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mininet.net import Mininet

    from testbed.keying.base import Keying
    from testbed.net.wires import WireSegment
    from testbed.topology.resolved import Family, Topology

DKS = "dks"


class FrrRouter(LabRouter):
    """A router with unmodified FRR."""

    frr: FrrInstance

    def __init__(self, name: str, *, topology: Topology, **params: Any) -> None:
        """A router of this topology."""
        self.topology, router = topology, topology.routers[name]
        self.router, self.multicast = router, any(interface.pim for interface in router.interfaces)
        self.management: tuple[str, IPv4Interface] | None = None
        super().__init__(name, **params)
        if self.multicast:
            self.unplugged = (RECEIVERS,)

    def address_lines(self) -> list[str]:
        """Loopbacks, interfaces, and the management network where there is one."""
        router = self.router
        lines = ["link set lo up", f"address add {router.loopback} dev lo"]
        if router.loopback6 is not None:
            lines.append(f"address add {router.loopback6} dev lo")
        for interface in router.interfaces:
            lines += [f"address add {each} dev {interface.name}" for each in self.topology.addresses(interface)]
            lines.append(f"link set {interface.name} up")
        if self.multicast:
            lines += [f"address add {router.loopback} dev {RECEIVERS}", f"link set {RECEIVERS} up"]
        if self.management is not None:
            name, address = self.management
            lines += [f"address add {address} dev {name}", f"link set {name} up"]
        return lines

    def configure_frr(self, topology: Topology, keying: Keying) -> None:
        """Write FRR's configuration, with the lines that the keying mode adds."""
        self.frr.configure(
            topology,
            self.router,
            lambda daemon: keying.frr_global_lines(topology, self.router, daemon),
            lambda interface, daemon: keying.frr_interface_lines(topology, interface, daemon),
        )

    def shell_words(self) -> dict[str, str]:
        """`vtysh` typed in a shell of this router means this router."""
        words = " ".join(shlex.quote(word) for word in self.frr.vtysh())
        return {**super().shell_words(), "BASH_FUNC_vtysh%%": f'() {{ command {words} "$@"; }}'}

    def vty(self, daemon: str) -> Vty:
        """A connection to one of its daemons."""
        return self.frr.vty(daemon)


class LabHost(LabNode):
    """A host with one interface and perhaps a gateway."""

    def __init__(
        self,
        name: str,
        *,
        address: IPv4Interface,
        gateway: IPv4Address | None,
        interface: str,
        family: Family = 4,
        **params: Any,
    ) -> None:
        """`family` 6: with an address of IPv6 besides, and a route by that of its gateway."""
        self.family = family
        self.address, self.gateway, self.interface = address, gateway, interface
        super().__init__(name, **params)

    def address_lines(self) -> list[str]:
        """Its address, and a default route where it has a gateway."""
        lines = [
            "link set lo up",
            f"address add {self.address} dev {self.interface}",
            f"link set {self.interface} up",
        ]
        if self.gateway is not None:
            lines.append(f"route add default via {self.gateway}")
            if self.family == 6:
                behind = of_stub(6, IPv4Interface(f"{self.gateway}/{self.address.network.prefixlen}"))
                lines.insert(2, f"address add {of_stub(6, self.address)} dev {self.interface}")
                lines.append(f"route add ::/0 via {behind.ip}")
        return lines


class LanSwitch(Node):  # type: ignore[misc]
    """A segment with more than two ends, as the prompt's `net` shows it. The wires are the thing."""

    isSetup = True

    def startShell(self, mnopts: str | None = None) -> None:
        """It has none."""

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing to do."""
        return {}


def connect(
    net: Mininet,
    nodes: Mapping[str, LabNode],
    segment: WireSegment,
    switch: type[LanSwitch],
) -> None:
    """Tell Mininet which interfaces a segment joins."""
    interfaces = []
    for port in segment.ports:
        node = nodes[port.node]
        address = _address(node, port.name)
        interfaces.append(
            add_interface(
                node,
                port.name,
                None if address is None else str(address.ip),
                32 if address is None else address.network.prefixlen,
                port.mac,
            )
        )
    if segment.point_to_point and len(interfaces) == 2:
        net.links.append(Wire(interfaces[0], interfaces[1]))
    elif len(interfaces) > 1:
        hub = switch(segment.name, inNamespace=False)
        net.switches.append(hub)
        net.nameToNode[segment.name] = hub
        for number, interface in enumerate(interfaces):
            far = add_interface(hub, f"{segment.name}-{number}", None, 32, "")
            net.links.append(Wire(interface, far))


def _address(node: LabNode, interface: str) -> IPv4Interface | None:
    if isinstance(node, LabHost):
        return node.address
    if isinstance(node, FrrRouter):
        for candidate in node.router.interfaces:
            if candidate.name == interface:
                addresses = node.topology.addresses(candidate)
                return next((each for each in addresses if isinstance(each, IPv4Interface)), None)
        if node.management is not None and node.management[0] == interface:
            return node.management[1]
    return None
