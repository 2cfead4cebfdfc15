"""One packet socket that hears ports of the wires, with the kernel's time stamps. Knows nothing of protocols."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from testbed.net.namespace import Namespace
from testbed.probes.many import SO_TIMESTAMPNS, Instruction, Many, choose, of_interfaces, stamp_ns

PACKET_OUTGOING = 4
_ETH_P_ALL = 3
_SO_RCVBUFFORCE = 33
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_BUFFER_BYTES = 64 << 20
_ADDRESS = struct.Struct("=HHiHBB8x")
_MOST_CHOSEN = 1000
"""Of more interfaces the kernel takes no filter (BPF_MAXINSNS)."""


class Frame(NamedTuple):
    """What passed a port. `leaves`: it leaves the node. `at`: monotonic nanoseconds."""

    label: str
    leaves: bool
    at: int
    data: bytes


class Ports:
    """Hears from now on. A port stands for a node's interface, and stays when the node loses its power."""

    def __init__(
        self,
        wires: Namespace,
        ports: Mapping[str, str],
        offset_ns: int,
        most: int,
        only: Iterable[Instruction] | None = None,
    ) -> None:
        """`ports`: device in the wires' namespace → label. `offset_ns`: wall-clock time minus monotonic time. Of each
        frame `most` octets. `only`: a filter in the place of that by ports."""
        self._offset_ns = offset_ns
        self._dropped = 0
        self._room = Many(most, name=_ADDRESS.size, control=64)
        with wires.enter():
            self._labels = {socket.if_nametoindex(device): label for device, label in ports.items()}
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if only is not None:
            choose(self._socket, only)
        elif len(self._labels) <= _MOST_CHOSEN:
            choose(self._socket, of_interfaces(self._labels, most))
        for _ in self._room.all(self._socket):
            pass  # what came before the filter was there

    def frames(self) -> Iterator[Frame]:
        """What has been heard at these ports."""
        while True:
            try:
                batch = self._room.take(self._socket)
            except OSError:  # a port went down (ENETDOWN); the socket goes on
                continue
            for data, address, control in batch:
                _, _, number, _, direction, _ = _ADDRESS.unpack(address)
                label = self._labels.get(number)
                if label is not None:
                    moment = stamp_ns(control) - self._offset_ns
                    yield Frame(label, direction != PACKET_OUTGOING, moment, data)
            if not batch:
                break

    @property
    def dropped(self) -> int:
        """Frames that came faster than they were read."""
        if self._socket.fileno() >= 0:
            _, more = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            self._dropped += more  # the kernel counts from the last question on
        return self._dropped

    def close(self) -> None:
        """End; what was dropped is known still."""
        self._dropped = self.dropped
        self._socket.close()
