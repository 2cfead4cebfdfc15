"""Captures packets on the wires, one pcap file per interface, from before the first packet.

One packet socket hears all ports of the wires; a port stands for a node's interface, and stays when the node loses
its power. The file has the interface's label for a name. Time stamps are the kernel's, turned into
the record's monotonic time: a pcap's seconds are the record's `t`. It must not know protocols.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from testbed.net.namespace import Namespace

_ETH_P_ALL = 3
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_MAGIC_NANOSECONDS, _ETHERNET, _SNAPLEN = 0xA1B23C4D, 1, 65535
_RECORD = struct.Struct("=IIII")
_BUFFER_BYTES = 64 << 20
_TIMESPEC = struct.Struct("=qq")


class Capture:
    """Writes what passes the named ports."""

    def __init__(self, wires: Namespace, ports: Mapping[str, str], folder: Path, offset_ns: int) -> None:
        """Start listening. `ports`: device in the wires' namespace → label. `offset_ns`: wall-clock time minus
        monotonic time."""
        self._offset_ns = offset_ns
        folder.mkdir(parents=True, exist_ok=True)
        self._files: dict[str, BinaryIO] = {}
        for device, label in ports.items():
            file = open(folder / f"{label}.pcap", "wb", buffering=1 << 18)  # noqa: SIM115
            file.write(struct.pack("=IHHiIII", _MAGIC_NANOSECONDS, 2, 4, 0, 0, _SNAPLEN, _ETHERNET))
            file.flush()
            self._files[device] = file
        with wires.enter():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)
        self.packets = 0
        self.dropped = 0

    def drain(self) -> None:
        """Write what has been heard."""
        receive, files = self._socket.recvmsg, self._files
        while True:
            try:
                data, ancillary, _, address = receive(_SNAPLEN, 64)
            except BlockingIOError:
                break
            except OSError:  # a port went down (ENETDOWN); the socket goes on
                continue
            file = files.get(address[0])
            if file is None:
                continue
            self.packets += 1
            seconds, nanoseconds = _TIMESPEC.unpack_from(ancillary[0][2])
            moment = seconds * 10**9 + nanoseconds - self._offset_ns
            head = _RECORD.pack(moment // 10**9, moment % 10**9, len(data), len(data))
            file.write(head + data)
        _, dropped = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self.dropped += dropped

    def flush(self) -> None:
        """Let readers see what was written."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Write the rest and end."""
        self.drain()
        self._socket.close()
        for file in self._files.values():
            file.close()
