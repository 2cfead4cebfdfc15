"""What rtnetlink says of links, routes and multicast routes. Only the fields that the record needs.

Pure: bytes in, objects out. It must not know of sockets, nodes or records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from agents.runtime.netlink import attributes

_IFINFO = struct.Struct("=BxHiII")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NEXTHOP = struct.Struct("=HBBi")
_NHMSG_SIZE = 8

IFF_UP, IFF_RUNNING, IFF_LOWER_UP = 0x1, 0x40, 0x10000
RT_TABLE_MAIN = 254
FAMILY_IPMR, FAMILY_IP6MR = 128, 129
_UNRESOLVED = 0x20  # RTNH_F_UNRESOLVED
_UNICAST, _BLACKHOLE, _UNREACHABLE, _PROHIBIT = 1, 6, 7, 8


class Message(IntEnum):
    """Message types (linux/rtnetlink.h)."""

    NEWLINK = 16
    DELLINK = 17
    GETLINK = 18
    NEWROUTE = 24
    DELROUTE = 25
    GETROUTE = 26
    NEWNEXTHOP = 104
    DELNEXTHOP = 105


_PROTOCOLS = {
    2: "kernel", 3: "boot", 4: "static", 9: "ra", 11: "zebra", 186: "bgp", 187: "isis",
    188: "ospf", 189: "rip", 192: "eigrp", 196: "static", 197: "openfabric", 198: "sharp",
}  # fmt: skip


@dataclass(frozen=True)
class Link:
    """An interface as it now is."""

    index: int
    name: str
    up: bool
    """Set up by the administrator."""
    running: bool
    """Up, and with carrier."""
    gone: bool = False


@dataclass(frozen=True)
class Route:
    """A route of the main table. `nexthops`: (gateway or None, interface number)."""

    dst: str
    metric: int
    proto: str
    nexthops: tuple[tuple[str | None, int], ...]
    gone: bool = False
    family: int = 2


@dataclass(frozen=True)
class MulticastRoute:
    """An entry of the kernel's multicast forwarding cache. `iif` and `oifs`: interface numbers; 0 is none."""

    origin: str
    """The source, or "*" for any."""
    group: str
    iif: int
    oifs: tuple[int, ...]
    gone: bool = False


def dump_body(kind: Message, family: int) -> bytes:
    """What a request for a dump of links or routes says beside its header."""
    return _IFINFO.pack(family, 0, 0, 0, 0) if kind == Message.GETLINK else _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)


def decode_link(kind: int, body: bytes) -> Link | None:
    """A link message; None when it has no name."""
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    for number, value in attributes(body[_IFINFO.size :]):
        if number == 3:
            return Link(
                index,
                value.rstrip(b"\0").decode(),
                bool(flags & IFF_UP),
                bool(flags & IFF_UP and flags & IFF_LOWER_UP),
                kind == Message.DELLINK,
            )
    return None


def decode_route(kind: int, body: bytes) -> Route | None:
    """A route message of the main table that forwards or discards; else None."""
    family, length, _, _, table, protocol, _, route_type, _ = _RTMSG.unpack_from(body)
    if family not in (2, 10) or route_type not in (_UNICAST, _BLACKHOLE, _UNREACHABLE, _PROHIBIT):
        return None
    size = 4 if family == 2 else 16
    address, metric, gateway, device = bytes(size), 0, None, 0
    nexthops: list[tuple[str | None, int]] = []
    for number, value in attributes(body[_RTMSG.size :]):
        if number == 15:
            table = struct.unpack("=I", value)[0]
        elif number == 1:
            address = value
        elif number == 6:
            metric = struct.unpack("=I", value)[0]
        elif number == 5:
            gateway = _address(value)
        elif number == 18:
            gateway = _via(value)
        elif number == 4:
            device = struct.unpack("=i", value)[0]
        elif number == 9:
            nexthops = list(_multipath(value))
    if table != RT_TABLE_MAIN:
        return None
    if device:
        nexthops.append((gateway, device))
    return Route(
        f"{_address(address)}/{length}",
        metric,
        _PROTOCOLS.get(protocol, str(protocol)),
        tuple(sorted(nexthops, key=lambda hop: (hop[0] or "", hop[1]))),
        kind == Message.DELROUTE,
        family,
    )


def is_multicast(body: bytes) -> bool:
    """Whether a route message is about multicast forwarding."""
    return body[:1] in (bytes([FAMILY_IPMR]), bytes([FAMILY_IP6MR]))


def decode_multicast(kind: int, body: bytes) -> MulticastRoute | None:
    """A route message of a multicast family; None for one that the routing daemon has not resolved yet."""
    _, _, _, _, _, _, _, _, flags = _RTMSG.unpack_from(body)
    if flags & _UNRESOLVED:
        return None
    origin = group = ""
    iif, oifs = 0, []
    for number, value in attributes(body[_RTMSG.size :]):
        if number == 1:
            group = _address(value)
        elif number == 2:
            origin = _address(value)
        elif number == 3:
            iif = struct.unpack("=I", value)[0]
        elif number == 9:
            oifs = sorted({device for _, device in _multipath(value)})
    anyone = origin in ("0.0.0.0", "::")
    return MulticastRoute("*" if anyone else origin, group, iif, tuple(oifs), kind == Message.DELROUTE)


def decode_nexthop(body: bytes) -> int:
    """The number of the next-hop object that a message is about; 0 when it has none."""
    for number, value in attributes(body[_NHMSG_SIZE:]):
        if number == 1 and len(value) == 4:
            return int(struct.unpack("=I", value)[0])
    return 0


def _multipath(data: bytes) -> Iterator[tuple[str | None, int]]:
    offset = 0
    while offset + _NEXTHOP.size <= len(data):
        length, _, _, device = _NEXTHOP.unpack_from(data, offset)
        if length < _NEXTHOP.size:
            return
        gateway = None
        for number, value in attributes(data[offset + _NEXTHOP.size : offset + length]):
            if number == 5:
                gateway = _address(value)
            elif number == 18:
                gateway = _via(value)
        yield gateway, device
        offset += (length + 3) & ~3


def _via(value: bytes) -> str:
    return _address(value[2:])


def _address(value: bytes) -> str:
    return str(IPv4Address(value) if len(value) == 4 else IPv6Address(value))
