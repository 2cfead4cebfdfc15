"""Captures packets on the wires, one pcap file per interface, from before the first packet.

The file has the interface's label for a name. Time stamps are the kernel's, turned into
the record's monotonic time: a pcap's seconds are the record's `t`. It must not know protocols.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from testbed.net.namespace import Namespace
from testbed.probes.ports import Ports

_MAGIC_NANOSECONDS, _ETHERNET, _SNAPLEN = 0xA1B23C4D, 1, 65535
_RECORD = struct.Struct("=IIII")


class Capture:
    """Writes what passes the named ports."""

    def __init__(self, wires: Namespace, ports: Mapping[str, str], folder: Path, offset_ns: int) -> None:
        """Start listening. `ports`: device in the wires' namespace → label. `offset_ns`: wall-clock time minus
        monotonic time."""
        folder.mkdir(parents=True, exist_ok=True)
        self._files: dict[str, BinaryIO] = {}
        for label in ports.values():
            file = open(folder / f"{label}.pcap", "wb", buffering=1 << 18)  # noqa: SIM115
            file.write(struct.pack("=IHHiIII", _MAGIC_NANOSECONDS, 2, 4, 0, 0, _SNAPLEN, _ETHERNET))
            file.flush()
            self._files[label] = file
        self._heard = Ports(wires, ports, offset_ns, _SNAPLEN)
        self.packets = 0

    @property
    def dropped(self) -> int:
        """Packets that came faster than they were read."""
        return self._heard.dropped

    def drain(self) -> None:
        """Write what has been heard."""
        for label, _, moment, data in self._heard.frames():
            self.packets += 1
            head = _RECORD.pack(moment // 10**9, moment % 10**9, len(data), len(data))
            self._files[label].write(head + data)

    def flush(self) -> None:
        """Let readers see what was written."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Write the rest and end."""
        self.drain()
        self._heard.close()
        for file in self._files.values():
            file.close()
