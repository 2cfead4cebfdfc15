"""Proposals, transforms and their attributes (RFC 7296 §3.3).

The group policies of RFC 9838 §4.4 use the same encodings of transforms and attributes. Knows octets only: nothing of
which algorithms exist or are wanted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from agents.ikev2.errors import MalformedMessage
from agents.ikev2.registry import TransformAttribute

MAX_PROPOSALS = 64
MAX_TRANSFORMS = 128
MAX_ATTRIBUTES = 64

_SHORT, _REMEMBERED = 1024, 64
"""The number and the length in octets of proposals whose parsed form is cached: all peers of one kind send the same."""

_TRANSFORM = struct.Struct("!BBHBBH")
_PROPOSAL = struct.Struct("!BBHBBBB")
_ATTRIBUTE = struct.Struct("!HH")


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: an integer is encoded as type/value (16 bit), octets as type/length/value."""

    type: int
    value: int | bytes


@dataclass(frozen=True, slots=True)
class Transform:
    """One transform. `type` and `id` are numbers of TransformType and of that type's registry."""

    type: int
    id: int
    attributes: tuple[Attribute, ...] = ()

    @property
    def key_bits(self) -> int | None:
        """The Key Length attribute in bits, if there is one."""
        for attribute in self.attributes:
            if attribute.type == TransformAttribute.KEY_LENGTH and isinstance(attribute.value, int):
                return attribute.value
        return None


def transform(type: int, id: int, key_bits: int | None = None) -> Transform:
    """A transform with an optional Key Length in bits."""
    attributes = () if key_bits is None else (Attribute(TransformAttribute.KEY_LENGTH, key_bits),)
    return Transform(int(type), int(id), attributes)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal of an SA payload; `spi` is empty in the initial exchanges."""

    number: int
    protocol: int
    spi: bytes
    transforms: tuple[Transform, ...]


def encode_attributes(attributes: Iterable[Attribute]) -> bytes:
    """Attributes in their two encodings, one after the other."""
    out = bytearray()
    for attribute in attributes:
        if isinstance(attribute.value, int):
            out += _ATTRIBUTE.pack(0x8000 | attribute.type, attribute.value)
        else:
            out += _ATTRIBUTE.pack(attribute.type, len(attribute.value)) + attribute.value
    return bytes(out)


def parse_attributes(data: bytes, offset: int = 0, end: int | None = None) -> tuple[Attribute, ...]:
    """All attributes in data[offset:end]."""
    stop = len(data) if end is None else end
    attributes: list[Attribute] = []
    while offset < stop:
        if stop - offset < 4:
            raise MalformedMessage("attribute is cut short")
        if len(attributes) >= MAX_ATTRIBUTES:
            raise MalformedMessage("too many attributes")
        kind, value = _ATTRIBUTE.unpack_from(data, offset)
        offset += 4
        if kind & 0x8000:
            attributes.append(Attribute(kind & 0x7FFF, value))
            continue
        if value > stop - offset:
            raise MalformedMessage("attribute is longer than its place")
        attributes.append(Attribute(kind, data[offset : offset + value]))
        offset += value
    return tuple(attributes)


@lru_cache(maxsize=_REMEMBERED)
def encode_transforms(transforms: tuple[Transform, ...]) -> bytes:
    """Transform substructures; the last one is marked."""
    out = bytearray()
    for index, item in enumerate(transforms):
        attributes = encode_attributes(item.attributes)
        more = 3 if index + 1 < len(transforms) else 0
        out += _TRANSFORM.pack(more, 0, 8 + len(attributes), item.type, 0, item.id) + attributes
    return bytes(out)


def parse_transforms(data: bytes, offset: int = 0, end: int | None = None) -> tuple[tuple[Transform, ...], int]:
    """The transforms from `offset` to the one marked as last, and the offset after it.

    Raises MalformedMessage when none is marked as last before `end`.
    """
    stop = len(data) if end is None else end
    transforms: list[Transform] = []
    while True:
        if stop - offset < 8:
            raise MalformedMessage("transform is cut short")
        if len(transforms) >= MAX_TRANSFORMS:
            raise MalformedMessage("too many transforms")
        more, _, length, kind, _, ident = _TRANSFORM.unpack_from(data, offset)
        if length < 8 or length > stop - offset:
            raise MalformedMessage(f"transform length {length} does not fit")
        if more not in (0, 3):
            raise MalformedMessage(f"transform marked {more}")
        attributes = parse_attributes(data, offset + 8, offset + length) if length > 8 else ()
        transforms.append(Transform(kind, ident, attributes))
        offset += length
        if more == 0:
            return tuple(transforms), offset


def encode_proposals(proposals: tuple[Proposal, ...]) -> bytes:
    """The body of an SA payload."""
    out = bytearray()
    for index, item in enumerate(proposals):
        transforms = encode_transforms(item.transforms)
        more = 2 if index + 1 < len(proposals) else 0
        length = 8 + len(item.spi) + len(transforms)
        out += _PROPOSAL.pack(more, 0, length, item.number, item.protocol, len(item.spi), len(item.transforms))
        out += item.spi + transforms
    return bytes(out)


def parse_proposals(data: bytes) -> tuple[Proposal, ...]:
    """The body of an SA payload: at least one proposal, and no octets after the last."""
    return _remembered(data) if len(data) <= _SHORT else _parse_proposals(data)


def _parse_proposals(data: bytes) -> tuple[Proposal, ...]:
    proposals: list[Proposal] = []
    offset = 0
    while True:
        if len(data) - offset < 8:
            raise MalformedMessage("proposal is cut short")
        if len(proposals) >= MAX_PROPOSALS:
            raise MalformedMessage("too many proposals")
        more, _, length, number, protocol, spi_size, count = _PROPOSAL.unpack_from(data, offset)
        end = offset + length
        start = offset + 8 + spi_size
        if length < 8 + spi_size or end > len(data):
            raise MalformedMessage(f"proposal length {length} does not fit")
        if more not in (0, 2):
            raise MalformedMessage(f"proposal marked {more}")
        if count:
            transforms, stop = parse_transforms(data, start, end)
        else:
            transforms, stop = (), start
        if stop != end or len(transforms) != count:
            raise MalformedMessage("proposal does not hold the transforms it counts")
        proposals.append(Proposal(number, protocol, data[offset + 8 : start], transforms))
        offset = end
        if more == 0:
            break
    if offset != len(data):
        raise MalformedMessage("octets behind the last proposal")
    return tuple(proposals)


_remembered = lru_cache(maxsize=_REMEMBERED)(_parse_proposals)
