"""One packet socket that hears all ports of the wires, with the kernel's time stamps. Knows nothing of protocols."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

from testbed.net.namespace import Namespace

_ETH_P_ALL = 3
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 35, 33
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_BUFFER_BYTES = 64 << 20
_TIMESPEC = struct.Struct("=qq")


class Ports:
    """Hears from now on. A port stands for a node's interface, and stays when the node loses its power."""

    def __init__(self, wires: Namespace, offset_ns: int) -> None:
        """`offset_ns`: wall-clock time minus monotonic time."""
        self._offset_ns = offset_ns
        self.dropped = 0
        """Frames that came faster than they were read."""
        with wires.enter():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.socket.setblocking(False)

    def frames(self, most: int) -> Iterator[tuple[bytes, Any, tuple[Any, ...]]]:
        """What has been heard: `most` octets of each frame, what `moment` takes, and the address (packet(7))."""
        receive = self.socket.recvmsg
        while True:
            try:
                data, ancillary, _, address = receive(most, 64)
            except BlockingIOError:
                break
            except OSError:  # a port went down (ENETDOWN); the socket goes on
                continue
            yield data, ancillary, address
        _, dropped = struct.unpack("=II", self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self.dropped += dropped

    def moment(self, ancillary: Any) -> int:
        """When a frame came, in monotonic nanoseconds."""
        seconds, nanoseconds = _TIMESPEC.unpack_from(ancillary[0][2])
        return int(seconds) * 10**9 + int(nanoseconds) - self._offset_ns

    def close(self) -> None:
        """End."""
        self.socket.close()
