"""Which frames the filter lets through: OSPF and PIM right behind an IP header, and nothing else."""

from __future__ import annotations

import pytest

from testbed.probes import cleartext, many
from testbed.probes.pcap import ESP, OSPF, PIM
from testbed.probes.ports import PACKET_OUTGOING


def passes(frame: bytes, kind: int = 0) -> bool:
    """What the kernel would do with the program."""
    value = place = 0
    while True:
        code, yes, no, k = cleartext._FILTER[place]
        if code == many.RET:
            return k > 0
        if code == many.LD:
            assert k == many.PACKET_TYPE
            value = kind
        elif code == many.LDH:
            value = int.from_bytes(frame[k : k + 2], "big")
        elif code == many.LDB:
            value = frame[k]
        elif code == many.JA:
            place += k
        else:
            assert code == many.JEQ
            place += yes if value == k else no
        place += 1


def ipv4(protocol: int) -> bytes:
    return bytes(12) + b"\x08\x00\x45" + bytes(8) + bytes([protocol]) + bytes(30)


def ipv6(protocol: int) -> bytes:
    return bytes(12) + b"\x86\xdd\x60" + bytes(5) + bytes([protocol]) + bytes(50)


@pytest.mark.parametrize("family", [ipv4, ipv6])
@pytest.mark.parametrize(("protocol", "through"), [(OSPF, True), (PIM, True), (ESP, False), (51, False), (17, False)])
def test_only_routing_in_clear_passes(family: object, protocol: int, through: bool) -> None:
    assert passes(family(protocol)) is through  # type: ignore[operator]


@pytest.mark.parametrize("family", [ipv4, ipv6])
def test_what_goes_to_a_node_was_counted_where_it_left_one(family: object) -> None:
    assert not passes(family(OSPF), PACKET_OUTGOING)  # type: ignore[operator]


@pytest.mark.parametrize("ethertype", [b"\x08\x06", b"\x81\x00"])
def test_what_is_no_ip_does_not_pass_whatever_its_octets(ethertype: bytes) -> None:
    assert not passes(bytes(12) + ethertype + bytes([OSPF]) * 60)
