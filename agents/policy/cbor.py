"""Deterministic CBOR (RFC 8949 §4.2.3, length-first) for signed objects: one value has one encoding, within bounds.

A reader of its own, since a general one also turns tags into dates, sets, cycles and big numbers. Knows nothing of the
encoded content.
"""

from __future__ import annotations

import struct

import cbor2

from agents.policy.errors import PolicyError

MAX_OCTETS = 1 << 19
MAX_ITEMS = 1 << 17
MAX_DEPTH = 8

_FLOATS = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}
_SIMPLE = {20: False, 21: True, 22: None}


def encode(value: object) -> bytes:
    """The deterministic encoding of plain values. PolicyError for other values."""
    try:
        return cbor2.dumps(value, canonical=True)
    except (cbor2.CBOREncodeError, TypeError, ValueError) as error:
        raise PolicyError(f"cannot be written as CBOR: {error}") from error


def octets(value: bytes) -> bytes:
    """As `encode`, for octets."""
    length = len(value)
    if length < 24:
        return bytes((0x40 | length,)) + value
    if length < 1 << 8:
        return bytes((0x58, length)) + value
    if length < 1 << 16:
        return b"\x59" + length.to_bytes(2, "big") + value
    return encode(value)


def decode(data: bytes, *, most_octets: int = MAX_OCTETS, most_items: int = MAX_ITEMS) -> object:
    """The value of these octets; PolicyError unless `encode` gives exactly them.

    Integers, octets, text, arrays, maps, booleans, null, floats. A tag gives (tag, value).
    """
    value = read(data, most_octets=most_octets, most_items=most_items)
    if encode(_untuple(value)) != data:
        raise PolicyError("CBOR is not in its deterministic form")
    return value


def read(data: bytes, *, most_octets: int = MAX_OCTETS, most_items: int = MAX_ITEMS) -> object:
    """As `decode`, for any encoding: for callers that encode the value again and compare."""
    if len(data) > most_octets:
        raise PolicyError(f"{len(data)} octets, more than {most_octets}")
    reader = _Reader(data, most_items)
    value = reader.item(0)
    if reader.offset != len(data):
        raise PolicyError("octets after the CBOR value")
    return value


def _untuple(value: object) -> object:
    if isinstance(value, tuple):
        return cbor2.CBORTag(value[0], _untuple(value[1]))
    if isinstance(value, list):
        return [_untuple(item) for item in value]
    if isinstance(value, dict):
        return {key: _untuple(item) for key, item in value.items()}
    return value


class _Reader:
    def __init__(self, data: bytes, most_items: int) -> None:
        self.data, self._most_items = data, most_items
        self.offset = 0
        self._items = 0

    def _take(self, count: int) -> bytes:
        part = self.data[self.offset : self.offset + count]
        if len(part) != count:
            raise PolicyError("CBOR is truncated")
        self.offset += count
        return part

    def _argument(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise PolicyError("CBOR of indefinite length")
        return int.from_bytes(self._take(1 << (info - 24)), "big")

    def item(self, depth: int) -> object:
        self._items += 1
        if depth > MAX_DEPTH or self._items > self._most_items:
            raise PolicyError("CBOR is nested too deeply or has too many items")
        head = self._take(1)[0]
        major, info = head >> 5, head & 31
        if major == 7:
            return self._simple(info)
        argument = self._argument(info)
        if major == 0:
            return argument
        if major == 1:
            return -1 - argument
        if major == 2:
            return self._take(argument)
        if major == 3:
            try:
                return self._take(argument).decode()
            except UnicodeDecodeError as error:
                raise PolicyError("CBOR text is not UTF-8") from error
        if major == 4:
            return [self.item(depth + 1) for _ in range(self._count(argument))]
        if major == 5:
            return self._map(argument, depth)
        return argument, self.item(depth + 1)

    def _count(self, argument: int) -> int:
        # Every item takes an octet: a count beyond the rest is invalid, and found before the loop.
        if argument > len(self.data) - self.offset:
            raise PolicyError("CBOR is truncated")
        return argument

    def _map(self, argument: int, depth: int) -> dict[int | str, object]:
        entries: dict[int | str, object] = {}
        for _ in range(self._count(argument)):
            key = self.item(depth + 1)
            if isinstance(key, bool) or not isinstance(key, int | str) or key in entries:
                raise PolicyError("CBOR map has a repeated key, or a key that is neither a number nor text")
            entries[key] = self.item(depth + 1)
        return entries

    def _simple(self, info: int) -> bool | float | None:
        if info in _SIMPLE:
            return _SIMPLE[info]
        if info in _FLOATS:
            layout, size = _FLOATS[info]
            return float(struct.unpack(layout, self._take(size))[0])
        raise PolicyError(f"CBOR simple value {info}")
