"""UDP of both families, with the address of arrival of each datagram and a chosen source address.

IP_PKTINFO and IPV6_PKTINFO give and take interface and local address, IP_RECVTTL and IPV6_RECVHOPLIMIT the hop limit
(RFC 5082 needs it), and everything leaves with a hop limit of 255. Addresses are text without a zone: that of a
link-local one is the interface. Knows nothing of the datagrams' content.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import select
import socket
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

from agents.ikev2.model import Datagram, PeerAddress
from agents.runtime.effects import Send

IP_PKTINFO, IP_RECVTTL, IP_TTL = 8, 12, 2
IPV6_UNICAST_HOPS, IPV6_V6ONLY, IPV6_RECVPKTINFO, IPV6_PKTINFO, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT = (
    16,
    26,
    49,
    50,
    51,
    52,
)
_MAX_DATAGRAM = 65535
_MOST_ERRORS = 64
"""The most ICMP errors that are taken from a socket before others have their turn."""
_PKTINFO, _PKTINFO6 = struct.Struct("=i4s4s"), struct.Struct("=16si")
_SIOCGIFNAME, _SIOCGIFINDEX = 0x8910, 0x8933
_NUMBERED = struct.Struct("=16si20x")
_LONGEST_NAME = 15
_ANCILLARY = socket.CMSG_SPACE(_PKTINFO6.size) + socket.CMSG_SPACE(4)
_Ancillary = list[tuple[int, int, bytes]]


class _Names:
    """The interfaces of the datagrams that are being taken in. The kernel is asked once for each, on a socket that is
    there anyway: an answer goes where its request came from. Forgotten when no datagram is left, for names and numbers
    may change."""

    def __init__(self, asked: socket.socket) -> None:
        self._asked = asked
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def of(self, index: int) -> str:
        """The name of an interface; empty when there is none (any more)."""
        name = self._names.get(index)
        if name is None:
            try:
                answer = fcntl.ioctl(self._asked, _SIOCGIFNAME, _NUMBERED.pack(b"", index))
            except OSError:
                return ""
            name = self._names[index] = os.fsdecode(answer[:16].rstrip(b"\0"))
            self._numbers[name] = index
        return name

    def index(self, name: str) -> int:
        """The number of an interface. OSError when there is none (any more)."""
        known = self._numbers.get(name)
        if known is None:
            octets = os.fsencode(name)
            if len(octets) > _LONGEST_NAME:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name)
            answer = fcntl.ioctl(self._asked, _SIOCGIFINDEX, _NUMBERED.pack(octets, 0))
            known = int(_NUMBERED.unpack(answer)[1])
        return known

    def forget(self) -> None:
        """Ask again."""
        self._numbers.clear()
        self._names.clear()


class _Family(ABC):
    """A bound socket of one family."""

    def __init__(self, bound: socket.socket, names: _Names) -> None:
        self.socket, self.names = bound, names
        self.port: int = bound.getsockname()[1]

    def receive(self) -> Datagram | None:
        """The next datagram; None when there is none at the moment."""
        for _ in range(_MOST_ERRORS):
            try:
                data, ancillary, _flags, source = self.socket.recvmsg(_MAX_DATAGRAM, _ANCILLARY)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                continue  # An ICMP error of an earlier datagram: this removes it from the socket.
            local, index, hops = self._arrival(ancillary)
            interface = self.names.of(index) if index else ""
            return Datagram(data, PeerAddress(self._source(source[0]), source[1], local, interface, self.port), hops)
        return None

    def send(self, effect: Send) -> None:
        """Send. OSError."""
        peer = effect.peer
        index = self.names.index(peer.interface) if peer.interface else 0
        ancillary = self._departure(peer.local_ip, index) if peer.local_ip or index else []
        self.socket.sendmsg([effect.data], ancillary, 0, self._target(peer, index))

    @abstractmethod
    def _arrival(self, ancillary: _Ancillary) -> tuple[str, int, int | None]:
        """Local address, interface's number and hop limit of a datagram."""

    @abstractmethod
    def _source(self, address: str) -> str:
        """An address from the socket, without a zone."""

    @abstractmethod
    def _departure(self, local_ip: str, index: int) -> _Ancillary:
        """The control message with the source address."""

    @abstractmethod
    def _target(self, peer: PeerAddress, index: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """The peer in the form of the socket."""


class _IPv4(_Family):
    def _source(self, address: str) -> str:
        return address

    def _arrival(self, ancillary: _Ancillary) -> tuple[str, int, int | None]:
        local, index, hops = "", 0, None
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
                index, _spec, destination = _PKTINFO.unpack(value[: _PKTINFO.size])
                local = socket.inet_ntoa(destination)
            elif level == socket.IPPROTO_IP and kind == IP_TTL:
                hops = int.from_bytes(value[:4], sys.byteorder)
        return local, index, hops

    def _departure(self, local_ip: str, index: int) -> _Ancillary:
        return [
            (socket.IPPROTO_IP, IP_PKTINFO, _PKTINFO.pack(index, socket.inet_aton(local_ip or "0.0.0.0"), bytes(4)))
        ]

    def _target(self, peer: PeerAddress, index: int) -> tuple[str, int]:
        return peer.ip, peer.port


class _IPv6(_Family):
    def _source(self, address: str) -> str:
        # A link-local address may have a zone, which the interface gives.
        return str(IPv6Address(address.partition("%")[0]))

    def _arrival(self, ancillary: _Ancillary) -> tuple[str, int, int | None]:
        local, index, hops = "", 0, None
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO:
                destination, index = _PKTINFO6.unpack(value[: _PKTINFO6.size])
                local = str(IPv6Address(destination))
            elif level == socket.IPPROTO_IPV6 and kind == IPV6_HOPLIMIT:
                hops = int.from_bytes(value[:4], sys.byteorder)
        return local, index, hops

    def _departure(self, local_ip: str, index: int) -> _Ancillary:
        packed = IPv6Address(local_ip or "::").packed
        return [(socket.IPPROTO_IPV6, IPV6_PKTINFO, _PKTINFO6.pack(packed, index))]

    def _target(self, peer: PeerAddress, index: int) -> tuple[str, int, int, int]:
        scope = index if IPv6Address(peer.ip).is_link_local else 0
        return peer.ip, peer.port, 0, scope


_OPTIONS = {
    socket.AF_INET: (socket.IPPROTO_IP, ((IP_PKTINFO, 1), (IP_RECVTTL, 1), (IP_TTL, 255))),
    socket.AF_INET6: (
        socket.IPPROTO_IPV6,
        ((IPV6_V6ONLY, 1), (IPV6_RECVPKTINFO, 1), (IPV6_RECVHOPLIMIT, 1), (IPV6_UNICAST_HOPS, 255)),
    ),
}


def bind(port: int, address: str = "", *, shared: bool = False) -> list[socket.socket]:
    """Bound sockets; without an address, of both families if the kernel has IPv6. OSError when the port is taken.

    `shared`: further sockets of this user may be bound to the same port (SO_REUSEPORT).
    """
    bound: list[socket.socket] = []
    try:
        for family in _families(address):
            each = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            bound.append(each)
            level, options = _OPTIONS[family]
            for option, value in options:
                each.setsockopt(level, option, value)
            if shared:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                each.bind((address, port))
            except OSError as error:
                raise _advised(error, address, port) from error
    except BaseException:
        for each in bound:
            each.close()
        raise
    return bound


def _advised(error: OSError, address: str, port: int) -> OSError:
    where = f"{address} port {port}" if address else f"port {port}"
    refusal = OSError(error.errno, f"UDP {where}: {error.strerror}")
    help_with = {
        errno.EADDRINUSE: f"ss -ulpn 'sport = :{port}'; stop the program that uses it, or set another `port`",
        errno.EADDRNOTAVAIL: "ip address show; `listen` is an address of this machine",
        errno.EACCES: "run it by its unit, which has CAP_NET_BIND_SERVICE, or set a `port` above 1023",
    }
    if error.errno in help_with:
        refusal.add_note(help_with[error.errno])
    return refusal


class UdpPort:
    """One port. Interfaces go by name; a datagram to an interface that no longer exists is lost.

    Readable by `fileno` when any of its sockets is.
    """

    def __init__(self, port: int, address: str = "", *, bound: Sequence[socket.socket] = ()) -> None:
        """As `bind`, or with sockets that `bind` made. OSError when the port is taken."""
        self._families: dict[int, _Family] = {}
        sockets = bound or bind(port, address)
        self._names = names = _Names(sockets[0])
        for each in sockets:
            if each.family == socket.AF_INET:
                self._families[4] = _IPv4(each, names)
            else:
                self._families[6] = _IPv6(each, names)
        self._ready = select.epoll()
        for family in self._families.values():
            self._ready.register(family.socket.fileno(), select.EPOLLIN)
        self._turns = itertools.cycle(self._families.values())

    def fileno(self) -> int:
        return self._ready.fileno()

    def close(self) -> None:
        """Close the sockets."""
        for each in self._families.values():
            each.socket.close()
        self._ready.close()

    def receive(self) -> Datagram | None:
        """The next datagram, of both families in turns; None when there is none at the moment."""
        for _ in self._families:
            datagram = next(self._turns).receive()
            if datagram is not None:
                return datagram
        self._names.forget()
        return None

    def send(self, effect: Send) -> bool:
        """Send; False when it cannot be sent now (no route, interface down). It then counts as lost."""
        try:
            family = self._families.get(6 if ":" in effect.peer.ip else 4)
            if family is None:
                return False
            family.send(effect)
        except OSError:
            return False
        return True


def _families(address: str) -> tuple[socket.AddressFamily, ...]:
    if address:
        try:
            return (socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6,)
        except ValueError as error:
            raise OSError(errno.EADDRNOTAVAIL, str(error)) from error
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError:
        return (socket.AF_INET,)
    return socket.AF_INET, socket.AF_INET6
