"""The interfaces, whether they run, and their usable addresses, by netlink.

A snapshot on demand, and a socket that becomes readable when a new one is needed; another socket for routes. Knows
nothing of the purpose of interfaces.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from agents.runtime import netlink

RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 18, 20, 22
RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x40, 0x100
IFF_UP, IFF_RUNNING = 0x1, 0x40
IFLA_IFNAME, IFA_LOCAL, IFA_ADDRESS = 3, 2, 1
_UNUSABLE = 0x40 | 0x08
"""IFA_F_TENTATIVE and IFA_F_DADFAILED (RFC 4862 §5.4): IPv6 does not send from an address that may be another
node's."""

_MOST_NEWS = 256

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")


@dataclass(frozen=True, slots=True)
class LinkState:
    """One interface. `running`: administratively up and with a carrier."""

    index: int
    running: bool
    addresses: frozenset[str]


class LinkMonitor:
    """Readable (`fileno`) when interfaces or addresses changed in this network namespace."""

    groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR

    def __init__(self) -> None:
        self._news = _netlink(self.groups)
        self._news.setblocking(False)

    def fileno(self) -> int:
        return self._news.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._news.close()

    def drain(self) -> None:
        """Drop the news: a later snapshot has it all."""
        for _ in range(_MOST_NEWS):  # the rest makes it readable again
            try:
                self._news.recv(65536)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # ENOBUFS: news were lost, which the snapshot makes up for


class RouteMonitor(LinkMonitor):
    """The same when IPv4 routes changed."""

    groups = RTMGRP_IPV4_ROUTE


def snapshot() -> dict[str, LinkState]:
    """All interfaces by name. OSError when the kernel does not answer."""
    interfaces: dict[int, tuple[str, bool]] = {}
    addresses: dict[int, set[str]] = {}
    with _netlink(0) as connection:
        for kind, body in _dump(connection, RTM_GETLINK):
            if kind == RTM_NEWLINK:
                _family, _type, index, flags, _change = _LINK.unpack_from(body)
                name = _attributes(body, _LINK.size).get(IFLA_IFNAME, b"").rstrip(b"\0").decode()
                interfaces[index] = (name, flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING)
        for kind, body in _dump(connection, RTM_GETADDR):
            family, _prefix, flags, _scope, index = _ADDRESS.unpack_from(body)
            if kind == RTM_NEWADDR and family in (socket.AF_INET, socket.AF_INET6) and not flags & _UNUSABLE:
                attributes = _attributes(body, _ADDRESS.size)
                octets = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS)
                if octets is not None:
                    addresses.setdefault(index, set()).add(str(ip_address(octets)))
    return {
        name: LinkState(index, running, frozenset(addresses.get(index, ())))
        for index, (name, running) in interfaces.items()
    }


def _netlink(groups: int) -> socket.socket:
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    connection.bind((0, groups))
    return connection


def _dump(connection: socket.socket, request: int) -> list[tuple[int, bytes]]:
    try:
        return netlink.dump(connection, request, struct.pack("=Bxxx", socket.AF_UNSPEC))
    except netlink.MalformedReply as error:
        raise OSError(f"the kernel's list of interfaces is unreadable: {error}") from error


def _attributes(body: bytes, offset: int) -> dict[int, bytes]:
    return dict(netlink.attributes(body[offset:]))
