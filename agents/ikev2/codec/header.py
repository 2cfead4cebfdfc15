"""The IKE header and the generic payload header, RFC 7296 §3.1 and §3.2.

Knows octets only: nothing of exchanges, keys or policy.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from agents.ikev2.errors import MalformedMessage, MessageTooLong

HEADER_LENGTH = 28
GENERIC_HEADER_LENGTH = 4
VERSION = 0x20
MAX_MESSAGE = 65535
ZERO_SPI = bytes(8)

_HEADER = struct.Struct("!8s8sBBBBII")
_GENERIC = struct.Struct("!BBH")


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed header of every IKE message; `length` counts the whole message in octets."""

    spi_i: bytes
    spi_r: bytes
    next_payload: int
    exchange: int
    flags: int
    message_id: int
    length: int = 0
    version: int = VERSION

    @property
    def is_response(self) -> bool:
        return bool(self.flags & 0x20)

    @property
    def from_initiator(self) -> bool:
        """Whether the sender is the original initiator of the IKE SA."""
        return bool(self.flags & 0x08)

    @property
    def major(self) -> int:
        return self.version >> 4


def encode_header(header: Header, length: int | None = None, next_payload: int | None = None) -> bytes:
    """28 octets; `length` and `next_payload` replace the header's own when given."""
    return _HEADER.pack(
        header.spi_i,
        header.spi_r,
        header.next_payload if next_payload is None else next_payload,
        header.version,
        header.exchange,
        header.flags,
        header.message_id,
        header.length if length is None else length,
    )


def parse_header(data: bytes) -> Header:
    """Read the header of a whole message; raise MalformedMessage unless its length is the datagram's."""
    if not HEADER_LENGTH <= len(data) <= MAX_MESSAGE:
        raise MalformedMessage(f"{len(data)} octets are not an IKE message")
    spi_i, spi_r, next_payload, version, exchange, flags, message_id, length = _HEADER.unpack_from(data)
    if length != len(data):
        raise MalformedMessage(f"header says {length} octets, datagram has {len(data)}")
    if spi_i == ZERO_SPI:
        raise MalformedMessage("initiator's SPI is zero")
    return Header(spi_i, spi_r, next_payload, exchange, flags, message_id, length, version)


def encode_generic(next_payload: int, body_length: int, critical: bool = False) -> bytes:
    """The generic payload header for a body of `body_length` octets; MessageTooLong when the length exceeds 16 bits."""
    length = body_length + GENERIC_HEADER_LENGTH
    if length > 0xFFFF:
        raise MessageTooLong(f"payload of {length} octets")
    return _GENERIC.pack(next_payload, 0x80 if critical else 0, length)


def parse_generic(data: bytes, offset: int) -> tuple[int, bool, int]:
    """Next payload, critical bit and the end of the payload that starts at `offset`."""
    if len(data) - offset < GENERIC_HEADER_LENGTH:
        raise MalformedMessage("payload header is cut short")
    next_payload, critical, length = _GENERIC.unpack_from(data, offset)
    end = offset + length
    if length < GENERIC_HEADER_LENGTH or end > len(data):
        raise MalformedMessage(f"payload length {length} does not fit")
    return next_payload, bool(critical & 0x80), end
