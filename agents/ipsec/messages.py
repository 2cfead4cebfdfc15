"""XFRM netlink messages to and from bytes, as in linux/xfrm.h (64-bit UAPI, native byte order).

A pure codec: it opens no socket. Interfaces are numbers on the wire and names in the model, so both directions take a
function for that. Decoding returns None for objects that the model does not cover (per-socket policies, sub-policies,
SAs without an SPI).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_network

from agents.ipsec.model import (
    Action,
    Algorithm,
    Direction,
    EncapsulationMode,
    IpsecProtocol,
    Lifetime,
    Mark,
    Policy,
    SaDirection,
    SecurityAssociation,
    Selector,
    Template,
)
from agents.ipsec.protection import IPAddress, IPNetwork
from agents.runtime.netlink import attribute, attributes, strict

IndexOf = Callable[[str], int]
NameOf = Callable[[int], str]

AF_INET, AF_INET6 = 2, 10


class Message(IntEnum):
    """XFRM_MSG_*."""

    NEWSA = 0x10
    DELSA = 0x11
    GETSA = 0x12
    NEWPOLICY = 0x13
    DELPOLICY = 0x14
    GETPOLICY = 0x15
    UPDPOLICY = 0x19
    UPDSA = 0x1A
    FLUSHSA = 0x1C
    FLUSHPOLICY = 0x1D


class Attribute(IntEnum):
    """XFRMA_*."""

    ALG_AUTH = 1
    ALG_CRYPT = 2
    TMPL = 5
    REPLAY_VAL = 10
    POLICY_TYPE = 16
    ALG_AEAD = 18
    ALG_AUTH_TRUNC = 20
    MARK = 21
    REPLAY_ESN_VAL = 23
    IF_ID = 31
    SA_DIR = 33


STATE_ESN = 128
"""XFRM_STATE_ESN in xfrm_usersa_info.flags."""

_SELECTOR = struct.Struct("=16s16s2s2s2s2sHBBB3xiI")
_ID = struct.Struct("=16s4sB3x")
_LIFETIME = struct.Struct("=8Q")
_LIFETIME_CURRENT = struct.Struct("=4Q")
_USERSA_TAIL = struct.Struct("=3IIIHBBB7x")
_USERSA_ID = struct.Struct("=16s4sHBx")
_USERPOLICY_TAIL = struct.Struct("=IIBBBB4x")
_USERPOLICY_ID_TAIL = struct.Struct("=IB3x")
_TEMPLATE = struct.Struct("=24sH2x16sIBBBx3I")
_ALGORITHM = struct.Struct("=64sI")
_ALGORITHM_ICV = struct.Struct("=64sII")
_REPLAY = struct.Struct("=3I")
_REPLAY_ESN = struct.Struct("=6I")
_MARK = struct.Struct("=2I")

USERSA_SIZE = _SELECTOR.size + _ID.size + 16 + _LIFETIME.size + _LIFETIME_CURRENT.size + _USERSA_TAIL.size
USERPOLICY_SIZE = _SELECTOR.size + _LIFETIME.size + _LIFETIME_CURRENT.size + _USERPOLICY_TAIL.size
assert (USERSA_SIZE, USERPOLICY_SIZE, _TEMPLATE.size, _SELECTOR.size) == (224, 168, 64, 56)


def _family(address: IPAddress | IPNetwork) -> int:
    return AF_INET if address.version == 4 else AF_INET6


def _pack_address(address: IPAddress) -> bytes:
    return address.packed.ljust(16, b"\0")


def _unpack_address(data: bytes, family: int) -> IPAddress:
    return IPv4Address(data[:4]) if family == AF_INET else IPv6Address(data[:16])


# -- selectors, lifetimes, templates ----------------------------------------------------------


def encode_selector(selector: Selector, index_of: IndexOf) -> bytes:
    """struct xfrm_selector."""
    destination, source = selector.destination, selector.source
    sport, dport = selector.source_port, selector.destination_port
    return _SELECTOR.pack(
        _pack_address(destination.network_address),
        _pack_address(source.network_address),
        dport[0].to_bytes(2, "big"),
        dport[1].to_bytes(2, "big"),
        sport[0].to_bytes(2, "big"),
        sport[1].to_bytes(2, "big"),
        selector.family,
        destination.prefixlen,
        source.prefixlen,
        selector.protocol,
        index_of(selector.interface) if selector.interface else 0,
        0,
    )


def decode_selector(data: bytes, name_of: NameOf, family: int = 0) -> Selector:
    """struct xfrm_selector; `family` is used where the structure has none."""
    (daddr, saddr, dport, dmask, sport, smask, own_family, plen_d, plen_s, proto, ifindex, _) = _SELECTOR.unpack_from(
        data
    )
    family = own_family or family or AF_INET
    return Selector(
        source=ip_network((_unpack_address(saddr, family), plen_s), strict=False),
        destination=ip_network((_unpack_address(daddr, family), plen_d), strict=False),
        protocol=proto,
        interface=name_of(ifindex) if ifindex else None,
        source_port=(int.from_bytes(sport, "big"), int.from_bytes(smask, "big")),
        destination_port=(int.from_bytes(dport, "big"), int.from_bytes(dmask, "big")),
    )


def _encode_lifetime(lifetime: Lifetime) -> bytes:
    return _LIFETIME.pack(
        lifetime.soft_bytes,
        lifetime.hard_bytes,
        lifetime.soft_packets,
        lifetime.hard_packets,
        lifetime.soft_add_s,
        lifetime.hard_add_s,
        lifetime.soft_use_s,
        lifetime.hard_use_s,
    )


def _encode_template(template: Template, family: int) -> bytes:
    destination = _pack_address(template.destination) if template.destination else b""
    source = _pack_address(template.source) if template.source else b""
    identity = _ID.pack(destination, template.spi.to_bytes(4, "big"), template.protocol)
    anything = 0xFFFFFFFF
    return _TEMPLATE.pack(
        identity, family, source, template.reqid, template.mode, 0, template.optional,
        anything, anything, anything,
    )  # fmt: skip


def _decode_template(data: bytes) -> Template:
    identity, family, source, reqid, mode, _share, optional, *_ = _TEMPLATE.unpack_from(data)
    destination, spi, protocol = _ID.unpack(identity)
    return Template(
        protocol=IpsecProtocol(protocol),
        mode=EncapsulationMode(mode),
        reqid=reqid,
        spi=int.from_bytes(spi, "big"),
        optional=bool(optional),
        source=_unpack_address(source, family) if any(source) else None,
        destination=_unpack_address(destination, family) if any(destination) else None,
    )


# -- security associations ----------------------------------------------------------------------


def _encode_algorithm(kind: Attribute, algorithm: Algorithm) -> bytes:
    name = algorithm.name.encode("ascii")
    if len(name) > 63:
        raise ValueError(f"algorithm name {algorithm.name!r} is longer than 63 bytes")
    bits = len(algorithm.key) * 8
    if kind is Attribute.ALG_CRYPT:
        head = _ALGORITHM.pack(name, bits)
    else:
        head = _ALGORITHM_ICV.pack(name, bits, algorithm.icv_bits)
    return attribute(kind, head + algorithm.key)


def _decode_algorithm(kind: Attribute, data: bytes) -> Algorithm:
    if kind is Attribute.ALG_CRYPT:
        (name, bits), icv, size = _ALGORITHM.unpack_from(data), 0, _ALGORITHM.size
    else:
        name, bits, icv = _ALGORITHM_ICV.unpack_from(data)
        size = _ALGORITHM_ICV.size
    key = data[size : size + (bits + 7) // 8]
    return Algorithm(name.rstrip(b"\0").decode("ascii"), key, icv)


def _replay_attribute(sa: SecurityAssociation) -> bytes:
    """Counters and window at the SA's start.

    Inbound, every number in the window up to `sequence` counts as received, so `sequence` is a floor: numbers up to it
    are rejected.
    """
    outbound = sa.direction is SaDirection.OUT
    high, low = sa.sequence >> 32, sa.sequence & 0xFFFFFFFF
    send = low if outbound or sa.direction is None else 0
    hear = 0 if outbound else low
    seen = 0xFFFFFFFF if hear or (high and not outbound) else 0
    if not sa.esn and sa.replay_window <= 32:
        return attribute(Attribute.REPLAY_VAL, _REPLAY.pack(send, hear, seen))
    words = (sa.replay_window + 31) // 32
    send_high = high if send or outbound or sa.direction is None else 0
    hear_high = 0 if outbound else high
    head = _REPLAY_ESN.pack(words, send, hear, send_high, hear_high, sa.replay_window)
    return attribute(Attribute.REPLAY_ESN_VAL, head + struct.pack("=I", seen) * words)


def encode_sa(sa: SecurityAssociation, index_of: IndexOf) -> bytes:
    """Body of XFRM_MSG_NEWSA and XFRM_MSG_UPDSA: xfrm_usersa_info and its attributes."""
    family = _family(sa.destination)
    bitmap = sa.esn or sa.replay_window > 32
    selector = (
        encode_selector(sa.selector, index_of)
        if sa.selector
        else _SELECTOR.pack(b"", b"", b"", b"", b"", b"", family, 0, 0, 0, 0, 0)
    )
    tail = _USERSA_TAIL.pack(
        0, 0, 0, 0, sa.reqid, family, sa.mode,
        0 if bitmap else sa.replay_window,
        sa.flags | (STATE_ESN if sa.esn else 0),
    )  # fmt: skip
    body = [
        selector,
        _ID.pack(_pack_address(sa.destination), sa.spi.to_bytes(4, "big"), sa.protocol),
        _pack_address(sa.source),
        _encode_lifetime(sa.lifetime),
        bytes(_LIFETIME_CURRENT.size),
        tail,
    ]
    for kind, algorithm in (
        (Attribute.ALG_AEAD, sa.aead),
        (Attribute.ALG_CRYPT, sa.encryption),
        (Attribute.ALG_AUTH_TRUNC, sa.integrity),
    ):
        if algorithm is not None:
            body.append(_encode_algorithm(kind, algorithm))
    if sa.sequence or bitmap:
        body.append(_replay_attribute(sa))
    body.append(_encode_mark_and_if_id(sa.mark, sa.if_id))
    if sa.direction is not None:
        body.append(attribute(Attribute.SA_DIR, bytes([sa.direction])))
    return b"".join(body)


@strict
def decode_sa(data: bytes, name_of: NameOf) -> SecurityAssociation | None:
    """An SA from the body of XFRM_MSG_NEWSA; None unless it is an ESP or AH SA with an SPI."""
    offset = _SELECTOR.size
    destination, spi_bytes, protocol = _ID.unpack_from(data, offset)
    offset += _ID.size
    source = data[offset : offset + 16]
    offset += 16
    lifetime = Lifetime(*_LIFETIME.unpack_from(data, offset))
    offset += _LIFETIME.size
    _bytes, _packets, added_s, _used_s = _LIFETIME_CURRENT.unpack_from(data, offset)
    offset += _LIFETIME_CURRENT.size
    (*_stats, _seq, reqid, family, mode, replay_window, flags) = _USERSA_TAIL.unpack_from(data, offset)
    spi = int.from_bytes(spi_bytes, "big")
    if spi == 0 or protocol not in (50, 51) or mode not in (0, 1):
        return None
    values = dict(attributes(data[USERSA_SIZE:]))
    algorithms = {
        kind: _decode_algorithm(kind, values[kind])
        for kind in (Attribute.ALG_AEAD, Attribute.ALG_CRYPT, Attribute.ALG_AUTH_TRUNC)
        if kind in values
    }
    direction = SaDirection(values[Attribute.SA_DIR][0]) if Attribute.SA_DIR in values else None
    sent = heard = 0
    if Attribute.REPLAY_ESN_VAL in values:
        _, low_out, low_in, high_out, high_in, replay_window = _REPLAY_ESN.unpack_from(values[Attribute.REPLAY_ESN_VAL])
        sent, heard = high_out << 32 | low_out, high_in << 32 | low_in
    elif Attribute.REPLAY_VAL in values:
        sent, heard, _ = _REPLAY.unpack_from(values[Attribute.REPLAY_VAL])
    by_direction = {SaDirection.OUT: sent, SaDirection.IN: heard}
    return SecurityAssociation(
        source=_unpack_address(source, family),
        destination=_unpack_address(destination, family),
        spi=spi,
        protocol=IpsecProtocol(protocol),
        mode=EncapsulationMode(mode),
        reqid=reqid,
        encryption=algorithms.get(Attribute.ALG_CRYPT),
        integrity=algorithms.get(Attribute.ALG_AUTH_TRUNC),
        aead=algorithms.get(Attribute.ALG_AEAD),
        selector=decode_selector(data, name_of, family),
        replay_window=replay_window,
        esn=bool(flags & STATE_ESN),
        sequence=max(sent, heard) if direction is None else by_direction[direction],
        direction=direction,
        mark=_decode_mark(values),
        if_id=_decode_if_id(values),
        lifetime=lifetime,
        flags=flags & ~STATE_ESN,
        added_s=added_s,
    )


def encode_sa_id(destination: IPAddress, spi: int, protocol: int, mark: Mark | None = None) -> bytes:
    """Body of XFRM_MSG_DELSA and XFRM_MSG_GETSA: xfrm_usersa_id."""
    head = _USERSA_ID.pack(_pack_address(destination), spi.to_bytes(4, "big"), _family(destination), protocol)
    return head + _encode_mark_and_if_id(mark, None)


# -- policies ---------------------------------------------------------------------------------


def encode_policy(policy: Policy, index_of: IndexOf) -> bytes:
    """Body of XFRM_MSG_NEWPOLICY and XFRM_MSG_UPDPOLICY: xfrm_userpolicy_info, attributes."""
    body = [
        encode_selector(policy.selector, index_of),
        _encode_lifetime(policy.lifetime),
        bytes(_LIFETIME_CURRENT.size),
        _USERPOLICY_TAIL.pack(policy.priority, 0, policy.direction, policy.action, policy.flags, 0),
    ]
    if policy.templates:
        family = policy.selector.family
        templates = b"".join(_encode_template(each, family) for each in policy.templates)
        body.append(attribute(Attribute.TMPL, templates))
    body.append(_encode_mark_and_if_id(policy.mark, policy.if_id))
    return b"".join(body)


@strict
def decode_policy(data: bytes, name_of: NameOf) -> Policy | None:
    """A policy from the body of XFRM_MSG_NEWPOLICY; None for a socket's or a sub-policy."""
    offset = _SELECTOR.size
    lifetime = Lifetime(*_LIFETIME.unpack_from(data, offset))
    offset += _LIFETIME.size + _LIFETIME_CURRENT.size
    priority, _index, direction, action, flags, _share = _USERPOLICY_TAIL.unpack_from(data, offset)
    values = dict(attributes(data[USERPOLICY_SIZE:]))
    if direction > Direction.FWD or values.get(Attribute.POLICY_TYPE, b"\0")[0]:
        return None
    raw = values.get(Attribute.TMPL, b"")
    pieces = [raw[at : at + _TEMPLATE.size] for at in range(0, len(raw), _TEMPLATE.size)]
    if any(piece[20] not in (50, 51) or piece[48] not in (0, 1) for piece in pieces):
        return None
    return Policy(
        selector=decode_selector(data, name_of),
        direction=Direction(direction),
        priority=priority,
        action=Action(action),
        templates=tuple(_decode_template(piece) for piece in pieces),
        mark=_decode_mark(values),
        if_id=_decode_if_id(values),
        lifetime=lifetime,
        flags=flags,
    )


def encode_policy_id(policy: Policy, index_of: IndexOf) -> bytes:
    """Body of XFRM_MSG_DELPOLICY: xfrm_userpolicy_id, by selector and direction."""
    head = encode_selector(policy.selector, index_of) + _USERPOLICY_ID_TAIL.pack(0, policy.direction)
    return head + _encode_mark_and_if_id(policy.mark, policy.if_id)


def _encode_mark_and_if_id(mark: Mark | None, if_id: int | None) -> bytes:
    out = b""
    if mark is not None:
        out += attribute(Attribute.MARK, _MARK.pack(mark.value, mark.mask))
    if if_id is not None:
        out += attribute(Attribute.IF_ID, struct.pack("=I", if_id))
    return out


def _decode_mark(values: dict[int, bytes]) -> Mark | None:
    return Mark(*_MARK.unpack_from(values[Attribute.MARK])) if Attribute.MARK in values else None


def _decode_if_id(values: dict[int, bytes]) -> int | None:
    return struct.unpack_from("=I", values[Attribute.IF_ID])[0] if Attribute.IF_ID in values else None
