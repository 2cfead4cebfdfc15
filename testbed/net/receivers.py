"""The receivers of multicast behind the routers: a namespace with one wire to each router that speaks PIM.

What is received there is what a host behind the router would receive, and joining is IGMP over a wire. A router's own
stack would not do: Linux delivers what it forwards to a program of the same machine only if that program asks for any
source. The ends here have no addresses, as a host before DHCP has none, and the routers' ends that of the loopback, so
that no prefix is added to the network. It must not know of streams.
"""

from __future__ import annotations

from collections.abc import Mapping

from testbed.net.namespace import Namespace
from testbed.net.runner import batch
from testbed.topology.resolved import RECEIVERS


class Receivers:
    """The receivers' side of the wires."""

    def __init__(self, routers: Mapping[str, Namespace]) -> None:
        """Make the wires. The routers' ends are down. EnvironmentFailure."""
        self.namespace = Namespace("receivers")
        self.namespace.sysctl({"ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1})
        self._devices = {name: f"r{number}" for number, name in enumerate(routers)}
        lines = ["link set lo up"]
        for number, (name, router) in enumerate(routers.items()):
            octets = f"00:00:{number >> 8:02x}:{number & 255:02x}"
            lines.append(
                f"link add {self._devices[name]} up address 02:fd:{octets} type veth"
                f" peer name {RECEIVERS} address 02:fc:{octets} netns {router.pid}"
            )
        batch("ip", lines, namespace=self.namespace)

    def device(self, router: str) -> str:
        """The end of the wire to a router."""
        return self._devices[router]

    def close(self) -> None:
        """Let them go."""
        self.namespace.close()
