"""Counts the routing packets that pass the wires in clear: OSPF and PIM right behind an IP header, of both families.

The kernel's filter lets nothing else through to the socket that hears all ports of the wires: where all is
protected it costs next to nothing, and it hears from before the first packet to after the last. It must not know which
packets should be protected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.net.namespace import Namespace
from testbed.probes.many import JA, JEQ, LD, LDB, LDH, PACKET_TYPE, RET
from testbed.probes.pcap import OSPF, PIM
from testbed.probes.ports import PACKET_OUTGOING, Ports

_HEAD = 34
"""Octets of a frame up to the end of an IPv4 header, which is more than the filter looks at."""
_MULTICAST = 224
"""The first octet of the first IPv4 group."""
_NAMES = {OSPF: "ospf", PIM: "pim"}
UNICAST = "pim, unicast"
"""Registers and Register-Stops, which have keys of their own. Of IPv6 they are not told from the rest."""

_FILTER = (
    (LD, 0, 0, PACKET_TYPE),
    (JEQ, 9, 0, PACKET_OUTGOING),
    (LDH, 0, 0, 12),
    (JEQ, 0, 2, 0x0800),
    (LDB, 0, 0, 23),
    (JA, 0, 0, 2),
    (JEQ, 0, 4, 0x86DD),
    (LDB, 0, 0, 20),
    (JEQ, 1, 0, OSPF),
    (JEQ, 0, 1, PIM),
    (RET, 0, 0, _HEAD),
    (RET, 0, 0, 0),
)
"""What a wire's port sends goes to the node; the same packet was heard where it came from."""


@dataclass
class _Heard:
    """Of one interface."""

    packets: dict[str, int] = field(default_factory=dict)
    first_ns: int = 0
    last_ns: int = 0


class Cleartext:
    """Hears all that leaves the nodes."""

    def __init__(self, wires: Namespace, ports: Mapping[str, str], offset_ns: int) -> None:
        """Start listening. `ports`: device in the wires' namespace → label. `offset_ns`: wall-clock time minus
        monotonic time."""
        self._heard: dict[str, _Heard] = {}
        self._ports = Ports(wires, ports, offset_ns, _HEAD, _FILTER)

    def drain(self) -> None:
        """Count what has been heard."""
        for label, _, moment, data in self._ports.frames():
            name = _NAMES[data[23] if data[12] == 0x08 else data[20]]
            if data[12] == 0x08 and name == "pim" and data[30] < _MULTICAST:
                name = UNICAST
            heard = self._heard.setdefault(label, _Heard(first_ns=moment))
            heard.packets[name] = heard.packets.get(name, 0) + 1
            heard.last_ns = moment

    def report(self) -> dict[str, object]:
        """By interface how many packets of which protocol left it in clear, and from when to when (ns). `missed`: not
        counted, since they came faster than they were read."""
        self.drain()
        return {
            "interfaces": {name: vars(heard) for name, heard in sorted(self._heard.items())},
            "missed": self._ports.dropped,
        }

    def close(self) -> None:
        """End."""
        self._ports.close()
