"""Reading rtnetlink: links and routes as the kernel tells them."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, ip_address

from agents.runtime.netlink import parts
from testbed.probes import rtnetlink
from testbed.probes.rtnetlink import Link, Message, MulticastRoute, decode_multicast, is_multicast


def attribute(number: int, value: bytes) -> bytes:
    padded = value + bytes(-len(value) % 4)
    return struct.pack("=HH", 4 + len(value), number) + padded


def link(index: int, flags: int, name: str) -> bytes:
    return struct.pack("=BxHiII", 0, 1, index, flags, 0) + attribute(3, name.encode() + b"\0")


def route(length: int, *attributes: bytes, table: int = 254, kind: int = 1, proto: int = 188) -> bytes:
    return struct.pack("=BBBBBBBBI", 2, length, 0, 0, table, proto, 0, kind, 0) + b"".join(attributes)


def packed(text: str) -> bytes:
    return ip_address(text).packed


def test_a_datagram_of_two_messages_gives_both() -> None:
    def message(kind: int, body: bytes) -> bytes:
        return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body

    data = message(16, b"abcd") + message(24, b"efgh")
    assert list(parts(data)) == [(16, 0, 0, b"abcd"), (24, 0, 0, b"efgh")]


def test_an_interface_that_is_up_without_carrier_is_not_running() -> None:
    assert rtnetlink.decode_link(16, link(3, 0x1, "r1-eth0")) == Link(3, "r1-eth0", True, False)
    assert rtnetlink.decode_link(16, link(3, 0x1 | 0x10000, "r1-eth0")) == Link(3, "r1-eth0", True, True)
    assert rtnetlink.decode_link(16, link(3, 0x10000, "r1-eth0")) == Link(3, "r1-eth0", False, False)


def test_a_route_with_one_gateway_is_read() -> None:
    body = route(
        30,
        attribute(1, packed("10.1.0.0")),
        attribute(6, struct.pack("=I", 20)),
        attribute(5, packed("10.1.0.2")),
        attribute(4, struct.pack("=i", 7)),
    )
    found = rtnetlink.decode_route(Message.NEWROUTE, body)
    assert found is not None
    assert (found.dst, found.metric, found.proto, found.nexthops) == ("10.1.0.0/30", 20, "ospf", (("10.1.0.2", 7),))


def test_the_gateways_of_a_multipath_route_come_in_a_fixed_order() -> None:
    def hop(index: int, gateway: str) -> bytes:
        inner = attribute(5, packed(gateway))
        return struct.pack("=HBBi", 8 + len(inner), 0, 0, index) + inner

    body = route(32, attribute(1, packed("10.0.0.3")), attribute(9, hop(8, "10.1.9.2") + hop(7, "10.1.0.2")))
    found = rtnetlink.decode_route(Message.NEWROUTE, body)
    assert found is not None
    assert found.nexthops == (("10.1.0.2", 7), ("10.1.9.2", 8))


def test_routes_of_other_tables_and_local_ones_are_left_out() -> None:
    address = attribute(1, packed("10.0.0.1"))
    assert rtnetlink.decode_route(Message.NEWROUTE, route(32, address, table=255)) is None
    assert rtnetlink.decode_route(Message.NEWROUTE, route(32, address, kind=2)) is None


def entry(origin: str, iif: int, oifs: tuple[int, ...], flags: int = 0, family: int = 128) -> bytes:
    hops = b"".join(struct.pack("=HBBi", 8, 0, 1, number) for number in oifs)
    found = struct.pack("=BBBBBBBBI", family, 32, 32, 0, 253, 17, 0, 5, flags)
    found += attribute(2, IPv4Address(origin).packed) + attribute(1, IPv4Address("239.1.1.1").packed)
    return found + (attribute(3, struct.pack("=I", iif)) if iif else b"") + attribute(9, hops)


def test_an_entry_of_multicast_forwarding_is_read_with_its_interfaces() -> None:
    found = decode_multicast(Message.NEWROUTE, entry("10.0.0.3", 4, (7, 5)))
    assert found == MulticastRoute("10.0.0.3", "239.1.1.1", 4, (5, 7))
    gone = decode_multicast(Message.DELROUTE, entry("0.0.0.0", 0, ()))
    assert gone == MulticastRoute("*", "239.1.1.1", 0, (), gone=True)


def test_an_entry_that_the_daemon_has_not_resolved_is_none_and_unicast_routes_are_told_apart() -> None:
    assert decode_multicast(Message.NEWROUTE, entry("10.0.0.3", 0, (), flags=0x20)) is None
    assert is_multicast(entry("10.0.0.3", 1, ())) and is_multicast(entry("10.0.0.3", 1, (), family=129))
    assert not is_multicast(entry("10.0.0.3", 1, (), family=2)) and not is_multicast(b"")
