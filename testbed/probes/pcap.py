"""Reads packet captures, and finds the routing packets in them that went in clear.

Knows the classic pcap format (micro- and nanoseconds, both byte orders), pcapng (testbed.probes.pcapng), both also
compressed by gzip, and the link types that tcpdump writes on Linux. It needs nothing but the standard library, and
knows nothing of keys: an ESP packet counts as protected whatever is in it.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import BinaryIO, cast

from testbed.probes import pcapng

Source = str | Path | BinaryIO
OSPF, PIM, ESP, AH = 89, 103, 50, 51
_GZIP = b"\x1f\x8b"
_GLOBAL_HEADER = 24
_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_EXTENSION_HEADERS = frozenset({0, 43, 60})
_FRAGMENT = 44
_ETHERNET, _RAW, _LINUX_SLL, _LINUX_SLL2 = 1, 101, 113, 276
_VLANS = (0x8100, 0x88A8)


@dataclass(frozen=True)
class Frame:
    """One captured frame: nanoseconds since the capture clock's zero, and what was kept of it."""

    time_ns: int
    link_type: int
    data: bytes


@dataclass(frozen=True)
class IpPacket:
    """The outermost IP header of a frame. `protocol` is the first that is no extension header."""

    time_ns: int
    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    protocol: int
    payload: bytes
    fragment_offset: int = 0
    """Octets; above 0 the payload does not begin with the protocol's header."""

    def __str__(self) -> str:
        name = {OSPF: "OSPF", PIM: "PIM", ESP: "ESP", AH: "AH"}.get(self.protocol, f"protocol {self.protocol}")
        return f"{self.time_ns / 1e9:.6f} {name} {self.source} → {self.destination}"


def read_frames(source: Source, flaws: list[str] | None = None) -> Iterator[Frame]:
    """The frames of a pcap or pcapng file, in its order; an open file need not be able to seek. OSError, or ValueError
    when it is neither.

    A last record that was cut off, by a crash say, is left out; `flaws` says so.
    """
    flaws = [] if flaws is None else flaws
    with open(source, "rb") if isinstance(source, str | Path) else nullcontext(source) as file:
        try:
            yield from _frames(file, flaws)
        except EOFError:
            flaws.append("truncated in the middle of its compressed octets")
        except (zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"damaged gzip data: {error}") from error


def _frames(file: BinaryIO, flaws: list[str]) -> Iterator[Frame]:
    head = file.read(_GLOBAL_HEADER)
    if head[:2] == _GZIP:
        file = cast(BinaryIO, gzip.GzipFile(fileobj=_Ahead(head, file)))
        head = file.read(_GLOBAL_HEADER)
    file = _Ahead(head, file)
    if head[:4] == pcapng.MAGIC:
        for time_ns, link_type, data in pcapng.packets(file, flaws):
            yield Frame(time_ns, link_type, data)
        return
    if len(head) < _GLOBAL_HEADER or head[:4] not in _MAGICS:
        raise ValueError("not a pcap or pcapng file")
    order, unit = _MAGICS[head[:4]]
    link_type = struct.unpack_from(order + "I", file.read(_GLOBAL_HEADER), 20)[0] & 0x0FFFFFFF
    record = struct.Struct(order + "4I")
    while len(raw := file.read(record.size)) == record.size:
        seconds, fraction, kept, _ = record.unpack(raw)
        if kept > pcapng.MAX_BLOCK:
            raise ValueError(f"pcap record of {kept} octets")
        data = file.read(kept)
        if len(data) < kept:
            return pcapng.cut_off(file, flaws)
        yield Frame(seconds * 1_000_000_000 + fraction * unit, link_type, data)
    if raw:
        pcapng.cut_off(file, flaws)


class _Ahead(io.BytesIO):
    """A file of which these octets have been read already; `tell` counts from the first of them."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        super().__init__(head)
        self._rest, self._given = rest, 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size is None or size < 0 or len(data) < size:
            data += self._rest.read(-1 if size is None or size < 0 else size - len(data))
        self._given += len(data)
        return data

    def tell(self) -> int:
        return self._given


def ip_packet(frame: Frame) -> IpPacket | None:
    """The IP packet in a frame; None for other frames and for headers cut short."""
    try:
        ethertype, body = _link_payload(frame)
        if ethertype == 0x0800:
            return _ipv4(frame.time_ns, body)
        if ethertype == 0x86DD:
            return _ipv6(frame.time_ns, body)
    except (struct.error, IndexError):
        return None
    return None


def ip_packets(source: Source, flaws: list[str] | None = None) -> Iterator[IpPacket]:
    """The IP packets of a capture; `flaws` as read_frames."""
    for frame in read_frames(source, flaws):
        packet = ip_packet(frame)
        if packet is not None:
            yield packet


def _link_payload(frame: Frame) -> tuple[int, bytes]:
    data = frame.data
    if frame.link_type == _ETHERNET:
        offset = 12
        while (ethertype := struct.unpack_from("!H", data, offset)[0]) in _VLANS:
            offset += 4
        return ethertype, data[offset + 2 :]
    if frame.link_type == _LINUX_SLL:
        return struct.unpack_from("!H", data, 14)[0], data[16:]
    if frame.link_type == _LINUX_SLL2:
        return struct.unpack_from("!H", data, 0)[0], data[20:]
    if frame.link_type == _RAW:
        return (0x0800 if data[0] >> 4 == 4 else 0x86DD), data
    raise ValueError(f"link type {frame.link_type} is unknown")


def _ipv4(time_ns: int, data: bytes) -> IpPacket:
    source, destination = struct.unpack_from("!4s4s", data, 12)
    return IpPacket(
        time_ns,
        IPv4Address(source),
        IPv4Address(destination),
        data[9],
        data[(data[0] & 0x0F) * 4 :],
        (struct.unpack_from("!H", data, 6)[0] & 0x1FFF) * 8,
    )


def _ipv6(time_ns: int, data: bytes) -> IpPacket:
    following = data[6]
    source, destination = struct.unpack_from("!16s16s", data, 8)
    offset, fragment = 40, 0
    while following in _EXTENSION_HEADERS or following == _FRAGMENT:
        length = 8 if following == _FRAGMENT else (data[offset + 1] + 1) * 8
        if following == _FRAGMENT:
            fragment = struct.unpack_from("!H", data, offset + 2)[0] & 0xFFF8
        following = data[offset]
        offset += length
    return IpPacket(time_ns, IPv6Address(source), IPv6Address(destination), following, data[offset:], fragment)
