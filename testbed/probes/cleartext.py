"""Counts the routing packets that pass the wires in clear: OSPF and PIM right behind an IP header, of both families.

One packet socket hears all ports of the wires, and the kernel's filter lets nothing else through to it: where all is
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

_ETH_P_ALL, _PACKET_OUTGOING = 3, 4
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE, _SO_ATTACH_FILTER = 35, 33, 26
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_BUFFER_BYTES = 64 << 20
_TIMESPEC = struct.Struct("=qq")
_HEAD = 34
"""Octets of a frame up to the end of what the filter looks at."""
_NAMES = {OSPF: "ospf", PIM: "pim"}

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
        self._offset_ns, self._ports = offset_ns, dict(ports)
        self._heard: dict[str, _Heard] = {}
        self.dropped = 0
        with wires.enter():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)
        _attach(self._socket)
        with contextlib.suppress(BlockingIOError):
            while True:  # what came before the filter was there
                self._socket.recv(_HEAD)

    def drain(self) -> None:
        """Count what has been heard."""
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(_HEAD, 64)
            except BlockingIOError:
                break
            except OSError:  # a port went down (ENETDOWN); the socket goes on
                continue
            label = self._ports.get(address[0])
            if label is None or address[2] == _PACKET_OUTGOING:
                continue
            seconds, nanoseconds = _TIMESPEC.unpack_from(ancillary[0][2])
            moment = seconds * 10**9 + nanoseconds - self._offset_ns
            name = _NAMES[data[23] if data[12] == 0x08 else data[20]]
            found = self._heard.setdefault(label, _Heard(first_ns=moment))
            found.packets[name] = found.packets.get(name, 0) + 1
            found.last_ns = moment
        _, dropped = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self.dropped += dropped

    def report(self) -> dict[str, object]:
        """By interface how many packets of which protocol left it in clear, and from when to when (ns). `missed`: not
        counted, since they came faster than they were read."""
        self.drain()
        return {
            "interfaces": {name: vars(found) for name, found in sorted(self._heard.items())},
            "missed": self.dropped,
        }

    def close(self) -> None:
        """End."""
        self._socket.close()


def _attach(opened: socket.socket) -> None:
    program = b"".join(struct.pack("=HBBI", *each) for each in _FILTER)
    held = ctypes.create_string_buffer(program, len(program))
    filtered = struct.pack("HP", len(_FILTER), ctypes.addressof(held))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filtered)
