"""The GSA payload (RFC 9838 §4.4): policies of SAs and of the whole group, as values.

Knows octets and their form only; others decide whether a policy can be met. Every parser raises MalformedMessage and
nothing else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from agents.gikev2.registry import GsaAttribute, GwAttribute
from agents.ikev2 import (
    Attribute,
    MalformedMessage,
    Payload,
    TrafficSelector,
    Transform,
    encode_attributes,
    encode_transforms,
    parse_attributes,
    parse_transforms,
)
from agents.ikev2.registry import PayloadType, Protocol

MAX_POLICIES = 256
SPI_OCTETS = {Protocol.GIKE_UPDATE: 16, Protocol.AH: 4, Protocol.ESP: 4}

_HEAD = struct.Struct("!BBH")
_FIXED_FORM: dict[int, int] = {GsaAttribute.GSA_KEY_LIFETIME: 4, GsaAttribute.GSA_INITIAL_MESSAGE_ID: 4}


@dataclass(frozen=True, slots=True)
class GroupPolicy:
    """One group SA: GIKE_UPDATE (the Rekey SA), ESP or AH (a Data-Security SA)."""

    protocol: int
    spi: bytes
    source: TrafficSelector
    destination: TrafficSelector
    transforms: tuple[Transform, ...]
    attributes: tuple[Attribute, ...] = ()

    def encode(self) -> bytes:
        """The policy's octets."""
        body = (
            self.spi
            + self.source.encode()
            + self.destination.encode()
            + encode_transforms(self.transforms)
            + encode_attributes(self.attributes)
        )
        return _HEAD.pack(self.protocol, len(self.spi), _HEAD.size + len(body)) + body

    @property
    def lifetime_s(self) -> int | None:
        """GSA_KEY_LIFETIME in seconds."""
        return self._number(GsaAttribute.GSA_KEY_LIFETIME)

    @property
    def initial_message_id(self) -> int:
        """GSA_INITIAL_MESSAGE_ID; 0 when absent."""
        return self._number(GsaAttribute.GSA_INITIAL_MESSAGE_ID) or 0

    def _number(self, kind: int) -> int | None:
        for item in self.attributes:
            if item.type == kind and isinstance(item.value, bytes):
                return int.from_bytes(item.value, "big")
        return None


@dataclass(frozen=True, slots=True)
class GroupWidePolicy:
    """The group-wide policy: activation and deactivation delay in seconds, length of a Sender-ID in bits."""

    atd_s: int = 0
    dtd_s: int = 0
    sender_id_bits: int | None = None

    def encode(self) -> bytes:
        """The policy's octets."""
        items = [Attribute(GwAttribute.GWP_ATD, self.atd_s), Attribute(GwAttribute.GWP_DTD, self.dtd_s)]
        if self.sender_id_bits is not None:
            items.append(Attribute(GwAttribute.GWP_SENDER_ID_BITS, self.sender_id_bits))
        body = encode_attributes(items)
        return _HEAD.pack(0, 0, _HEAD.size + len(body)) + body


@dataclass(frozen=True, slots=True)
class GsaPayload(Payload):
    """Group Security Association: at most one Rekey SA and one group-wide policy, and at least one SA."""

    payload_type: ClassVar[int] = PayloadType.GSA
    policies: tuple[GroupPolicy, ...]
    group_wide: GroupWidePolicy | None = None

    def body(self) -> bytes:
        parts = [policy.encode() for policy in self.policies]
        if self.group_wide is not None:
            parts.append(self.group_wide.encode())
        return b"".join(parts)

    @classmethod
    def parse(cls, body: bytes) -> GsaPayload:
        """From the octets after the generic payload header."""
        policies: list[GroupPolicy] = []
        wide: GroupWidePolicy | None = None
        offset = 0
        while offset < len(body):
            if len(body) - offset < _HEAD.size:
                raise MalformedMessage("group policy is cut short")
            protocol, spi_size, length = _HEAD.unpack_from(body, offset)
            end = offset + length
            if length < _HEAD.size + spi_size or end > len(body):
                raise MalformedMessage(f"group policy length {length} does not fit")
            start = offset + _HEAD.size
            if protocol == 0:
                if wide is not None or spi_size:
                    raise MalformedMessage("a second group-wide policy, or one with an SPI")
                wide = _parse_wide(parse_attributes(body, start, end))
            else:
                if len(policies) >= MAX_POLICIES:
                    raise MalformedMessage("too many group policies")
                policies.append(_parse_policy(protocol, spi_size, body[start:end]))
            offset = end
        _check(policies)
        return cls(tuple(policies), wide)

    @property
    def rekey(self) -> GroupPolicy | None:
        """The Rekey SA's policy."""
        return next((item for item in self.policies if item.protocol == Protocol.GIKE_UPDATE), None)


def _parse_policy(protocol: int, spi_size: int, body: bytes) -> GroupPolicy:
    if protocol not in SPI_OCTETS or SPI_OCTETS[Protocol(protocol)] != spi_size:
        raise MalformedMessage(f"group policy of protocol {protocol} with an SPI of {spi_size} octets")
    source, offset = TrafficSelector.parse(body, spi_size)
    destination, offset = TrafficSelector.parse(body, offset)
    transforms, offset = parse_transforms(body, offset)
    attributes = parse_attributes(body, offset)
    seen: set[int] = set()
    for item in attributes:
        if item.type in _FIXED_FORM:
            if not isinstance(item.value, bytes) or len(item.value) != _FIXED_FORM[item.type] or item.type in seen:
                raise MalformedMessage(f"group policy attribute {item.type} in a wrong form, or twice")
            seen.add(item.type)
        elif item.type == GsaAttribute.GSA_NEXT_SPI and (
            not isinstance(item.value, bytes) or len(item.value) != spi_size
        ):
            raise MalformedMessage("GSA_NEXT_SPI in a wrong form")
    return GroupPolicy(protocol, body[:spi_size], source, destination, transforms, attributes)


def _parse_wide(attributes: tuple[Attribute, ...]) -> GroupWidePolicy:
    values: dict[int, int] = {}
    for item in attributes:
        if item.type not in (GwAttribute.GWP_ATD, GwAttribute.GWP_DTD, GwAttribute.GWP_SENDER_ID_BITS):
            continue
        if not isinstance(item.value, int) or item.type in values:
            raise MalformedMessage(f"group-wide attribute {item.type} in a wrong form, or twice")
        values[item.type] = item.value
    return GroupWidePolicy(
        values.get(GwAttribute.GWP_ATD, 0),
        values.get(GwAttribute.GWP_DTD, 0),
        values.get(GwAttribute.GWP_SENDER_ID_BITS),
    )


def _check(policies: list[GroupPolicy]) -> None:
    if not policies:
        raise MalformedMessage("GSA payload without a policy of an SA")
    if sum(item.protocol == Protocol.GIKE_UPDATE for item in policies) > 1:
        raise MalformedMessage("GSA payload with two Rekey SAs")
    if len({(item.protocol, item.spi) for item in policies}) != len(policies):
        raise MalformedMessage("two group policies have one protocol and SPI")
