"""Reads PIM messages (RFC 7761 §4.9): who joins and prunes what, and who registers it. Bytes in, objects out.

Only what the record needs, and IPv4. Knows nothing of sockets, nodes or records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

ANY = "*"
_IPV4 = 1
_WILDCARD, _RP_TREE = 0x02, 0x01
_NULL_REGISTER = 0x40


class Kind(IntEnum):
    """Types of messages, with the registry's numbers."""

    HELLO = 0
    REGISTER = 1
    REGISTER_STOP = 2
    JOIN_PRUNE = 3
    BOOTSTRAP = 4
    ASSERT = 5
    CANDIDATE_RP = 8


@dataclass(frozen=True)
class Entry:
    """One thing that a message says of a source and a group. `origin` is "*" for any source."""

    what: str
    """join, prune, register or register_stop."""
    origin: str
    group: str
    upstream: str = ""
    """Of a join or prune: the router that is asked."""
    rp_tree: bool = False
    """A prune, or the join that takes it back, of one source off the tree of the rendezvous point: (S,G,rpt)."""
    null: bool = False
    """A Register without data."""


def kind_of(packet: bytes) -> Kind | None:
    """The type of the PIM message in an IPv4 packet; None when it is none of those above."""
    message = _message(packet)
    try:
        return Kind(message[0] & 0x0F) if len(message) >= 4 and message[0] >> 4 == 2 else None
    except ValueError:
        return None


def entries(packet: bytes) -> list[Entry]:
    """What the message in an IPv4 packet says. Of a message that is cut off or of other addresses nothing."""
    message, kind = _message(packet), kind_of(packet)
    try:
        if kind is Kind.JOIN_PRUNE:
            return list(_joins(message))
        if kind is Kind.REGISTER:
            return [_register(message)]
        if kind is Kind.REGISTER_STOP:
            return [Entry("register_stop", _unicast(message, 12), _group(message, 4)[0])]
    except (IndexError, ValueError):
        pass
    return []


def _message(packet: bytes) -> bytes:
    return packet[4 * (packet[0] & 0x0F) :] if packet else b""


def _joins(message: bytes) -> Iterator[Entry]:
    upstream, offset = _unicast(message, 4), 14
    for _ in range(message[11]):
        group, _mask = _group(message, offset)
        counts = int.from_bytes(message[offset + 8 : offset + 10]), int.from_bytes(message[offset + 10 : offset + 12])
        offset += 12
        for what, many in zip(("join", "prune"), counts, strict=True):
            for _ in range(many):
                flags = message[offset + 2]
                origin = _address(message, offset + 4, message[offset])
                everyone = bool(flags & _WILDCARD)
                yield Entry(
                    what, ANY if everyone else origin, group, upstream, rp_tree=bool(flags & _RP_TREE) and not everyone
                )
                offset += 8


def _register(message: bytes) -> Entry:
    inner = message[8:]
    if inner[0] >> 4 != 4:
        raise ValueError("not IPv4")
    return Entry("register", str(_ipv4(inner, 12)), str(_ipv4(inner, 16)), null=bool(message[4] & _NULL_REGISTER))


def _unicast(message: bytes, offset: int) -> str:
    return _address(message, offset + 2, message[offset])


def _group(message: bytes, offset: int) -> tuple[str, int]:
    return _address(message, offset + 4, message[offset]), message[offset + 3]


def _address(message: bytes, offset: int, family: int) -> str:
    if family != _IPV4:
        raise ValueError("not IPv4")
    return str(_ipv4(message, offset))


def _ipv4(octets: bytes, offset: int) -> IPv4Address:
    """ValueError when it is cut off."""
    return IPv4Address(octets[offset : offset + 4])
