"""Counts the routing packets that pass the wires in clear: OSPF and PIM right behind an IP header, of both families.

The kernel's filter lets nothing else through to the socket that hears all ports of the wires: where all is
protected it costs next to nothing, and it hears from before the first packet to after the last. It must not know which
packets should be protected.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.net.namespace import Namespace
from testbed.probes.pcap import OSPF, PIM
from testbed.probes.ports import Ports

_PACKET_OUTGOING, _SO_ATTACH_FILTER = 4, 26
_HEAD = 34
"""Octets of a frame up to the end of an IPv4 header, which is more than the filter looks at."""
_MULTICAST = 224
"""The first octet of the first IPv4 group."""
_NAMES = {OSPF: "ospf", PIM: "pim"}
UNICAST = "pim, unicast"
"""Registers and Register-Stops, which have keys of their own. Of IPv6 they are not told from the rest."""

# Classic BPF (linux/filter.h): load a half-word or an octet at a fixed place, jump, compare and jump, return.
_LDH, _LDB, _JA, _JEQ, _RET = 0x28, 0x30, 0x05, 0x15, 0x06
_FILTER = (
    (_LDH, 0, 0, 12),
    (_JEQ, 0, 2, 0x0800),
    (_LDB, 0, 0, 23),
    (_JA, 0, 0, 2),
    (_JEQ, 0, 4, 0x86DD),
    (_LDB, 0, 0, 20),
    (_JEQ, 1, 0, OSPF),
    (_JEQ, 0, 1, PIM),
    (_RET, 0, 0, _HEAD),
    (_RET, 0, 0, 0),
)


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
        self._labels = dict(ports)
        self._heard: dict[str, _Heard] = {}
        self._ports = Ports(wires, offset_ns)
        _attach(self._ports.socket)
        with contextlib.suppress(BlockingIOError):
            while True:  # what came before the filter was there
                self._ports.socket.recv(_HEAD)

    def drain(self) -> None:
        """Count what has been heard."""
        for data, ancillary, address in self._ports.frames(_HEAD):
            label = self._labels.get(address[0])
            if label is None or address[2] == _PACKET_OUTGOING:
                continue
            moment = self._ports.moment(ancillary)
            name = _NAMES[data[23] if data[12] == 0x08 else data[20]]
            if data[12] == 0x08 and name == "pim" and data[30] < _MULTICAST:
                name = UNICAST
            found = self._heard.setdefault(label, _Heard(first_ns=moment))
            found.packets[name] = found.packets.get(name, 0) + 1
            found.last_ns = moment

    def report(self) -> dict[str, object]:
        """By interface how many packets of which protocol left it in clear, and from when to when (ns). `missed`: not
        counted, since they came faster than they were read."""
        self.drain()
        return {
            "interfaces": {name: vars(found) for name, found in sorted(self._heard.items())},
            "missed": self._ports.dropped,
        }

    def close(self) -> None:
        """End."""
        self._ports.close()


def _attach(opened: socket.socket) -> None:
    program = b"".join(struct.pack("=HBBI", *each) for each in _FILTER)
    held = ctypes.create_string_buffer(program, len(program))
    filtered = struct.pack("HP", len(_FILTER), ctypes.addressof(held))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filtered)
