"""Reads pcapng: sections of both byte orders, interfaces with their clocks, packets in their three kinds of block; and
rewrites a stream of pcap as such.

Names, statistics and options other than a clock's are passed over. Knows nothing of what packets hold.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _OBSOLETE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_IF_TSRESOL, _IF_TSOFFSET = 9, 14
MAX_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class _Interface:
    link_type: int
    snap_length: int
    units_per_s: int = 1_000_000
    offset_s: int = 0

    def time_ns(self, units: int) -> int:
        return self.offset_s * 1_000_000_000 + units * 1_000_000_000 // self.units_per_s


def packets(file: BinaryIO, flaws: list[str] | None = None) -> Iterator[tuple[int, int, bytes]]:
    """Time (ns), link type and octets of each packet. ValueError; a last block that was cut off is left out, and
    `flaws` says so."""
    order, interfaces, flaws = "", list[_Interface](), [] if flaws is None else flaws
    while head := file.read(8):
        if len(head) < 8:
            return cut_off(file, flaws)
        if head[:4] == MAGIC:
            magic = file.read(4)
            if magic not in _ORDERS:
                raise ValueError("pcapng section of an unknown byte order")
            order, interfaces = _ORDERS[magic], []
            length = int(struct.unpack(order + "I", head[4:])[0]) - 12
        else:
            length = int(struct.unpack(order + "I", head[4:])[0]) - 8 if order else -1
        if not 4 <= length <= MAX_BLOCK or length % 4:
            raise ValueError(f"pcapng block of {length + 8} octets")
        body = file.read(length)
        if len(body) < length:
            return cut_off(file, flaws)
        kind = struct.unpack(order + "I", head[:4])[0]
        if kind == _INTERFACE:
            interfaces.append(_interface(body[:-4], order))
        elif kind in (_ENHANCED, _OBSOLETE, _SIMPLE):
            yield _packet(kind, body[:-4], order, interfaces)


def cut_off(file: BinaryIO, flaws: list[str]) -> None:
    """Note that the file ends where something is unfinished."""
    flaws.append(f"truncated at octet {file.tell()}, in the middle of a packet")


def _packet(kind: int, body: bytes, order: str, interfaces: list[_Interface]) -> tuple[int, int, bytes]:
    try:
        if kind == _SIMPLE:
            number, high, low, start = 0, 0, 0, 4
            kept = min(struct.unpack_from(order + "I", body)[0], interfaces[0].snap_length or MAX_BLOCK)
        else:
            form = "IIII" if kind == _ENHANCED else "HxxIII"
            number, high, low, kept = struct.unpack_from(order + form, body)
            start = 20
        interface = interfaces[number]
    except (struct.error, IndexError) as error:
        raise ValueError("pcapng packet without an interface, or truncated") from error
    if start + kept > len(body):
        raise ValueError("pcapng packet is longer than its block")
    return interface.time_ns(high << 32 | low), interface.link_type, body[start : start + kept]


def _interface(body: bytes, order: str) -> _Interface:
    if len(body) < 8:
        raise ValueError("pcapng interface is truncated")
    link_type, snap = struct.unpack_from(order + "HxxI", body)
    units, offset_s, at = 1_000_000, 0, 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + length]
        if code == 0:
            break
        if code == _IF_TSRESOL and len(value) == 1:
            units = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == _IF_TSOFFSET and len(value) == 8:
            offset_s = struct.unpack(order + "q", value)[0]
        at += 4 + (length + 3 & ~3)
    return _Interface(link_type, snap, units, offset_s)


class Rewriter:
    """Makes pcapng of a stream of pcap in this machine's byte order, in whatever pieces it comes."""

    def __init__(self, interface: str) -> None:
        self._name, self._rest, self._begun = interface.encode(), b"", False
        self._tick = 1000

    def take(self, data: bytes) -> bytes:
        """What `data` adds. ValueError for what is no pcap."""
        self._rest += data
        made = []
        if not self._begun:
            if len(self._rest) < 24:
                return b""
            magic, snap, link_type = struct.unpack_from("=I12xII", self._rest)
            if magic not in (0xA1B2C3D4, 0xA1B23C4D):
                raise ValueError("not a pcap in this machine's byte order")
            self._tick = 1000 if magic == 0xA1B2C3D4 else 1
            options = _option(2, self._name) + _option(_IF_TSRESOL, b"\x09") + bytes(4)
            made = [
                _block(_SECTION, struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1)),
                _block(_INTERFACE, struct.pack("=HHI", link_type, 0, snap) + options),
            ]
            self._rest, self._begun = self._rest[24:], True
        while len(self._rest) >= 16:
            seconds, part, kept, length = struct.unpack_from("=IIII", self._rest)
            if kept > MAX_BLOCK:
                raise ValueError(f"pcap packet of {kept} octets")
            if len(self._rest) < 16 + kept:
                break
            time = seconds * 1_000_000_000 + part * self._tick
            head = struct.pack("=IIIII", 0, time >> 32, time & 0xFFFFFFFF, kept, length)
            made.append(_block(_ENHANCED, head + _padded(self._rest[16 : 16 + kept])))
            self._rest = self._rest[16 + kept :]
        return b"".join(made)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("=I", len(body) + 12)
    return struct.pack("=I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
