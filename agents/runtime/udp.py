"""One UDP socket that says where each datagram came to, and sends from where it is told.

IPv4. IP_PKTINFO gives and takes interface and local address, IP_RECVTTL the hop limit (RFC 5082
needs it), and everything leaves with a hop limit of 255. Knows nothing of what the datagrams hold.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

from agents.ikev2.model import Datagram, PeerAddress
from agents.runtime.effects import Send

IP_PKTINFO, IP_RECVTTL, IP_TTL = 8, 12, 2
_MAX_DATAGRAM = 65535
_PKTINFO = struct.Struct("=i4s4s")
_ANCILLARY = socket.CMSG_SPACE(_PKTINFO.size) + socket.CMSG_SPACE(4)


class UdpPort:
    """A bound socket. Interfaces go by name; one that is not there any more loses the datagram."""

    def __init__(self, port: int, address: str = "") -> None:
        """Bind. OSError when the port is taken."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self.socket.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        self.socket.setsockopt(socket.IPPROTO_IP, IP_TTL, 255)
        self.socket.bind((address, port))
        self._port = port

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def receive(self) -> Datagram | None:
        """The next datagram; None when there is none at the moment."""
        while True:
            try:
                data, ancillary, _flags, source = self.socket.recvmsg(_MAX_DATAGRAM, _ANCILLARY)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                continue  # An ICMP error of an earlier datagram: it is taken from the socket by this.
            local, interface, hops = "", "", None
            for level, kind, value in ancillary:
                if level != socket.IPPROTO_IP:
                    continue
                if kind == IP_PKTINFO:
                    index, _spec, destination = _PKTINFO.unpack(value[: _PKTINFO.size])
                    local = socket.inet_ntoa(destination)
                    with contextlib.suppress(OSError):
                        interface = socket.if_indextoname(index)
                elif kind == IP_TTL:
                    hops = int.from_bytes(value[:4], sys.byteorder)
            peer = PeerAddress(source[0], source[1], local, interface, self._port)
            return Datagram(data, peer, hops)

    def send(self, effect: Send) -> bool:
        """Send; False when it cannot go now (no route, interface down). Then it counts as lost."""
        peer = effect.peer
        ancillary: list[tuple[int, int, bytes]] = []
        try:
            if peer.local_ip or peer.interface:
                index = socket.if_nametoindex(peer.interface) if peer.interface else 0
                spec = socket.inet_aton(peer.local_ip or "0.0.0.0")
                ancillary = [(socket.IPPROTO_IP, IP_PKTINFO, _PKTINFO.pack(index, spec, bytes(4)))]
            self.socket.sendmsg([effect.data], ancillary, 0, (peer.ip, peer.port))
        except OSError:
            return False
        return True
