"""The KD payload (RFC 9838 §4.5): bags of wrapped keys, and the key wrap itself (RFC 5649).

Every parser raises MalformedMessage and nothing else. Keys, wrapped or not, are left out of every repr.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import ClassVar

from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from agents.gikev2.gsa import MAX_POLICIES, SPI_OCTETS
from agents.gikev2.registry import GroupKeyAttribute, MemberKeyAttribute
from agents.ikev2 import Attribute, IntegrityFailure, MalformedMessage, Payload, encode_attributes, parse_attributes
from agents.ikev2.registry import PayloadType, Protocol

_HEAD = struct.Struct("!BBH")
_WRAPPED = struct.Struct("!II")
_MIN_WRAPPED = 16


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key wrapped by another: Key ID 0 is an SA's keying material, KWK ID 0 the default key-wrap key."""

    key_id: int
    kwk_id: int
    octets: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The attribute's value."""
        return _WRAPPED.pack(self.key_id, self.kwk_id) + self.octets

    @classmethod
    def parse(cls, value: bytes | int) -> WrappedKey:
        """From the attribute's value."""
        if not isinstance(value, bytes) or len(value) < _WRAPPED.size + _MIN_WRAPPED or len(value) % 8:
            raise MalformedMessage("wrapped key in a wrong form")
        key_id, kwk_id = _WRAPPED.unpack_from(value)
        return cls(key_id, kwk_id, value[_WRAPPED.size :])


def wrap_key(kwk: bytes, key: bytes, key_id: int = 0, kwk_id: int = 0) -> WrappedKey:
    """Wrap a key with AES key wrap with padding; `kwk` has 16, 24 or 32 octets."""
    return WrappedKey(key_id, kwk_id, aes_key_wrap_with_padding(kwk, key))


def unwrap_key(kwk: bytes, wrapped: WrappedKey) -> bytes:
    """The unwrapped key. IntegrityFailure when it was wrapped with another KWK."""
    try:
        return aes_key_unwrap_with_padding(kwk, wrapped.octets)
    except (InvalidUnwrap, ValueError) as error:
        raise IntegrityFailure("the wrapped key is not under this key") from error


@dataclass(frozen=True, slots=True)
class GroupKeyBag:
    """The keys of one SA, matched to its policy by protocol and SPI."""

    protocol: int
    spi: bytes
    keys: tuple[WrappedKey, ...]
    replay_floor: int | None = None

    def encode(self) -> bytes:
        """The bag's octets."""
        items = [Attribute(GroupKeyAttribute.SA_KEY, key.encode()) for key in self.keys]
        if self.replay_floor is not None:
            items.append(Attribute(GroupKeyAttribute.REPLAY_FLOOR, self.replay_floor.to_bytes(4, "big")))
        body = self.spi + encode_attributes(items)
        return _HEAD.pack(self.protocol, len(self.spi), _HEAD.size + len(body)) + body


@dataclass(frozen=True, slots=True)
class MemberKeyBag:
    """Keys for this member: key path, the key server's signature key (SPKI), Sender-IDs."""

    wrap_keys: tuple[WrappedKey, ...] = ()
    auth_key: bytes | None = None
    sender_ids: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """The bag's octets."""
        items = [Attribute(MemberKeyAttribute.WRAP_KEY, key.encode()) for key in self.wrap_keys]
        if self.auth_key is not None:
            items.append(Attribute(MemberKeyAttribute.AUTH_KEY, self.auth_key))
        items += [Attribute(MemberKeyAttribute.GM_SENDER_ID, number.to_bytes(4, "big")) for number in self.sender_ids]
        body = encode_attributes(items)
        return _HEAD.pack(0, 0, _HEAD.size + len(body)) + body


@dataclass(frozen=True, slots=True)
class KdPayload(Payload):
    """Key Download."""

    payload_type: ClassVar[int] = PayloadType.KD
    bags: tuple[GroupKeyBag, ...]
    member: MemberKeyBag | None = None

    def body(self) -> bytes:
        parts = [bag.encode() for bag in self.bags]
        if self.member is not None:
            parts.append(self.member.encode())
        return b"".join(parts)

    def bag(self, protocol: int, spi: bytes) -> GroupKeyBag | None:
        """The bag of one SA."""
        return next((item for item in self.bags if (item.protocol, item.spi) == (protocol, spi)), None)

    @classmethod
    def parse(cls, body: bytes) -> KdPayload:
        """From the octets after the generic payload header."""
        bags: list[GroupKeyBag] = []
        member: MemberKeyBag | None = None
        offset = 0
        while offset < len(body):
            if len(body) - offset < _HEAD.size:
                raise MalformedMessage("key bag is cut short")
            protocol, spi_size, length = _HEAD.unpack_from(body, offset)
            end = offset + length
            start = offset + _HEAD.size + spi_size
            if start > end or end > len(body):
                raise MalformedMessage(f"key bag length {length} does not fit")
            attributes = parse_attributes(body, start, end)
            if protocol == 0:
                if member is not None or spi_size:
                    raise MalformedMessage("a second member key bag, or one with an SPI")
                member = _parse_member(attributes)
            else:
                if protocol not in SPI_OCTETS or SPI_OCTETS[Protocol(protocol)] != spi_size:
                    raise MalformedMessage(f"key bag of protocol {protocol} with an SPI of {spi_size} octets")
                if len(bags) >= MAX_POLICIES:
                    raise MalformedMessage("too many key bags")
                bags.append(_parse_bag(protocol, body[offset + _HEAD.size : start], attributes))
            offset = end
        if len({(bag.protocol, bag.spi) for bag in bags}) != len(bags):
            raise MalformedMessage("two key bags of one SA")
        return cls(tuple(bags), member)


def _parse_bag(protocol: int, spi: bytes, attributes: tuple[Attribute, ...]) -> GroupKeyBag:
    keys: list[WrappedKey] = []
    floor: int | None = None
    for item in attributes:
        if item.type == GroupKeyAttribute.SA_KEY:
            keys.append(WrappedKey.parse(item.value))
        elif item.type == GroupKeyAttribute.REPLAY_FLOOR:
            if not isinstance(item.value, bytes) or len(item.value) != 4 or floor is not None:
                raise MalformedMessage("REPLAY_FLOOR in a wrong form, or twice")
            floor = int.from_bytes(item.value, "big")
    if protocol != Protocol.GIKE_UPDATE and len(keys) != 1:
        raise MalformedMessage(f"key bag of a Data-Security SA with {len(keys)} keys")
    return GroupKeyBag(protocol, spi, tuple(keys), floor)


def _parse_member(attributes: tuple[Attribute, ...]) -> MemberKeyBag:
    keys: list[WrappedKey] = []
    auth: bytes | None = None
    senders: list[int] = []
    for item in attributes:
        if item.type == MemberKeyAttribute.WRAP_KEY:
            keys.append(WrappedKey.parse(item.value))
        elif item.type == MemberKeyAttribute.AUTH_KEY:
            if not isinstance(item.value, bytes) or auth is not None:
                raise MalformedMessage("AUTH_KEY in a wrong form, or twice")
            auth = item.value
        elif item.type == MemberKeyAttribute.GM_SENDER_ID:
            if not isinstance(item.value, bytes) or len(item.value) != 4:
                raise MalformedMessage("GM_SENDER_ID in a wrong form")
            senders.append(int.from_bytes(item.value, "big"))
    return MemberKeyBag(tuple(keys), auth, tuple(senders))
