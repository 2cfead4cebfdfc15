"""PIM messages as bytes, and what of them is told."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest

from testbed.faults.packets import pim_hello, pim_join
from testbed.probes.pim import Entry, Kind, entries, kind_of


def ip(payload: bytes, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    addresses = IPv4Address("10.0.0.9").packed + IPv4Address("224.0.0.13").packed
    return struct.pack("!BBHHHBBH", 0x40 | words, 0, 0, 0, 0, 1, 103, 0) + addresses + options + payload


def address(text: str) -> bytes:
    return IPv4Address(text).packed


def group(text: str) -> bytes:
    return bytes([1, 0, 0, 32]) + address(text)


def source(text: str, flags: int = 0x04) -> bytes:
    return bytes([1, 0, flags, 32]) + address(text)


def joins(*groups: bytes) -> bytes:
    return bytes([0x23, 0, 0, 0, 1, 0]) + address("10.0.0.1") + bytes([0, len(groups), 0, 210]) + b"".join(groups)


def register(flags: int, inner: bytes) -> bytes:
    return bytes([0x21, 0, 0, 0, flags, 0, 0, 0]) + inner


INNER = struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0) + address("10.0.0.3") + address("239.1.1.1") + bytes(8)


def test_a_join_of_a_source_and_one_of_any_source_are_told_with_whom_they_ask() -> None:
    message = joins(
        group("239.1.1.1") + struct.pack("!HH", 1, 1) + source("10.0.0.2", 0x07) + source("10.0.0.3", 0x05),
        group("232.1.1.1") + struct.pack("!HH", 1, 1) + source("10.0.0.3") + source("10.0.0.4"),
    )
    assert entries(ip(message)) == entries(ip(message, bytes(4))) == [
        Entry("join", "*", "239.1.1.1", "10.0.0.1"),
        Entry("prune", "10.0.0.3", "239.1.1.1", "10.0.0.1", rp_tree=True),
        Entry("join", "10.0.0.3", "232.1.1.1", "10.0.0.1"),
        Entry("prune", "10.0.0.4", "232.1.1.1", "10.0.0.1"),
    ]  # fmt: skip


def test_the_laboratorys_own_messages_are_read() -> None:
    upstream, wanted, origin = (IPv4Address(each) for each in ("10.0.0.1", "239.1.1.1", "10.0.0.3"))
    assert [(each.what, each.origin) for each in entries(ip(pim_join(upstream, wanted, origin)))] == [
        ("join", "10.0.0.3")
    ]
    assert kind_of(ip(pim_hello())) is Kind.HELLO and entries(ip(pim_hello())) == []


def test_a_register_with_data_one_without_and_the_answer_are_told() -> None:
    assert entries(ip(register(0, INNER))) == [Entry("register", "10.0.0.3", "239.1.1.1")]
    assert entries(ip(register(0x40, INNER))) == [Entry("register", "10.0.0.3", "239.1.1.1", null=True)]
    stop = bytes([0x22, 0, 0, 0]) + group("239.1.1.1") + bytes([1, 0]) + address("10.0.0.3")
    assert entries(ip(stop)) == [Entry("register_stop", "10.0.0.3", "239.1.1.1")]


@pytest.mark.parametrize(
    "whole",
    [
        ip(joins(group("239.1.1.1") + struct.pack("!HH", 1, 0) + source("10.0.0.2", 0x07))),
        ip(register(0, INNER[:20])),
        ip(bytes([0x22, 0, 0, 0]) + group("239.1.1.1") + bytes([1, 0]) + address("10.0.0.3")),
    ],
)
def test_a_message_that_is_cut_off_tells_nothing_and_breaks_nothing(whole: bytes) -> None:
    assert entries(whole)
    assert all(entries(whole[:length]) == [] for length in range(len(whole)))


def test_other_versions_types_and_addresses_tell_nothing() -> None:
    assert kind_of(b"") is None and kind_of(ip(b"\x13\0\0\0")) is None and kind_of(ip(b"\x2f\0\0\0")) is None
    assert entries(ip(register(0, b"\x60" + INNER[1:]))) == []
    counts = bytes([0x23, 0, 0, 0, 1, 0]) + address("10.0.0.1") + bytes([0, 255, 0, 210])
    assert entries(ip(counts)) == [] and entries(ip(joins(bytes([2]) + group("239.1.1.1")[1:] + bytes(40)))) == []
