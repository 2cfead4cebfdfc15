"""Traffic is counted where it leaves an interface, by kind, and IKE by its header, in captures made by hand."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from testbed.analysis import traffic
from testbed.errors import InputError
from testbed.topology.load import load

RING = load("ring:4")
R1, R2 = (
    RING.routers["r1"].interfaces[0],
    next(each for each in RING.routers["r2"].interfaces if each.segment == RING.routers["r1"].interfaces[0].segment),
)
MANAGEMENT = "02:fe:00:00:00:07"


def packet(source: object, protocol: int, payload: bytes, fragment: int = 0) -> bytes:
    addresses = IPv4Address(str(source)).packed + IPv4Address("224.0.0.5").packed
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, fragment, 1, protocol, 0) + addresses + payload


def ike(spi: int, exchange: int, message: int, *, response: bool = False, port: int = 848, more: int = 0) -> bytes:
    marker = bytes(4) if port == 4500 else b""
    flags = 0x20 if response else 0x08
    data = marker + struct.pack("!QQBBBBII", spi, 0, 33, 0x20, exchange, flags, message, 28) + bytes(more)
    return struct.pack("!HHHH", port, port, 8 + len(data), 0) + data


def capture(folder: Path, interface: str, frames: list[tuple[int, str, bytes]]) -> None:
    (folder / "pcap").mkdir(exist_ok=True)
    octets = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    for second, mac, data in frames:
        frame = bytes(6) + bytes.fromhex(mac.replace(":", "")) + b"\x08\x00" + data
        octets += struct.pack("=IIII", second, 0, len(frame), len(frame)) + frame
    (folder / "pcap" / f"{interface}.pcap").write_bytes(octets)


def test_a_packet_counts_once_for_each_link_with_the_octets_of_its_ip_packet(tmp_path: Path) -> None:
    hello = packet(R1.ipv4.ip, 89, bytes(48))
    for end in (R1, R2):  # both ends of the link see it
        capture(tmp_path, end.name, [(5, R1.mac, hello)])
    assert traffic.sent(tmp_path, RING) == [traffic.Sent(5_000_000_000, R1.name, traffic.CLEAR, 68)]


@pytest.mark.parametrize(
    ("protocol", "kind"), [(89, "clear"), (103, "clear"), (50, "protected"), (51, "protected"), (1, "other")]
)
def test_protocols_have_their_kinds(protocol: int, kind: str, tmp_path: Path) -> None:
    capture(tmp_path, R1.name, [(1, R1.mac, packet(R1.ipv4.ip, protocol, bytes(8)))])
    assert [each.kind for each in traffic.sent(tmp_path, RING)] == [kind]


def test_ike_that_is_only_passed_on_counts_again_and_is_one_message_and_one_handshake(tmp_path: Path) -> None:
    far = "10.99.0.1"
    first = packet(far, 17, ike(7, 34, 0))
    capture(tmp_path, R1.name, [(1, R1.mac, first), (3, R1.mac, first)])  # passed on, and repeated
    capture(tmp_path, R2.name, [(2, R2.mac, packet(far, 17, ike(7, 34, 0, response=True)))])
    found = traffic.sent(tmp_path, RING)
    assert [each.octets for each in found] == [56, 56, 56]
    assert (traffic.handshakes(found), traffic.messages(found)) == (1, 2)


def test_a_rekey_is_no_handshake_and_other_udp_is_no_ike(tmp_path: Path) -> None:
    capture(tmp_path, R1.name, [
        (1, R1.mac, packet(R1.ipv4.ip, 17, ike(7, 42, 1))),
        (2, R1.mac, packet(R1.ipv4.ip, 17, ike(8, 34, 0, port=53))),
        (3, R1.mac, packet(R1.ipv4.ip, 17, bytes(100), fragment=100)),
    ])  # fmt: skip
    found = traffic.sent(tmp_path, RING)
    assert [each.kind for each in found] == ["ike", "other", "ike"]
    assert (traffic.handshakes(found), traffic.messages(found)) == (0, 1)


def test_on_port_4500_the_header_stands_behind_the_marker(tmp_path: Path) -> None:
    capture(tmp_path, R1.name, [(1, R1.mac, packet(R1.ipv4.ip, 17, ike(9, 34, 0, port=4500)))])
    assert traffic.handshakes(traffic.sent(tmp_path, RING)) == 1


def test_on_the_management_network_an_interface_is_known_by_its_own_address(tmp_path: Path) -> None:
    interface = RING.dks.management.routers["r1"]
    frames = [
        (1, "02:fe:00:00:00:01", packet(RING.dks.management.address, 17, ike(1, 34, 0, response=True))),
        (2, MANAGEMENT, packet(interface.ipv4.ip, 17, ike(1, 35, 1))),
    ]
    capture(tmp_path, interface.name, frames)
    assert [each.t for each in traffic.sent(tmp_path, RING)] == [2_000_000_000]


def test_a_run_without_captures_is_an_error_that_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no captures"):
        traffic.sent(tmp_path, RING)


def test_a_handshake_costs_what_both_ends_sent_and_ml_kem_is_told_apart(tmp_path: Path) -> None:
    ours, theirs = R1.ipv4.ip, R2.ipv4.ip
    exchanges = [(34, 0, 300, 200), (43, 1, 1100, 1100), (43, 1, 100, 10), (39, 2, 400, 500)]
    asked = [(each, R1.mac, packet(ours, 17, ike(7, kind, number, more=octets)))
             for each, (kind, number, octets, _) in enumerate(exchanges, 1)]  # fmt: skip
    told = [(each, R2.mac, packet(theirs, 17, ike(7, kind, number, response=True, more=octets)))
            for each, (kind, number, _, octets) in enumerate(exchanges, 5)]  # fmt: skip
    unfinished = (9, R1.mac, packet(ours, 17, ike(8, 34, 0, more=300)))
    for end in (R1, R2):
        capture(tmp_path, end.name, [*asked, *told, unfinished])
    (found,) = traffic.handshake_costs(traffic.sent(tmp_path, RING))
    assert found.octets == 3710 + 8 * 56 and (found.datagrams, found.requests, found.ns) == (8, 3, 7_000_000_000)
    assert found.further == traffic.Handshake(2310 + 4 * 56, 4, 1, 5_000_000_000)


def test_a_handshake_that_is_passed_on_over_many_links_counts_once_and_without_ml_kem_nothing_is_told_apart(
    tmp_path: Path,
) -> None:
    far, dks = "10.99.0.1", "10.99.0.2"
    first = packet(far, 17, ike(7, 34, 0))
    last = packet(dks, 17, ike(7, 39, 1, response=True))
    capture(tmp_path, R1.name, [(1, R1.mac, first), (9, R1.mac, last)])
    capture(tmp_path, R2.name, [(2, R2.mac, first), (8, R2.mac, last)])
    (found,) = traffic.handshake_costs(traffic.sent(tmp_path, RING))
    assert found == traffic.Handshake(2 * 56, 2, 1, 7_000_000_000)
