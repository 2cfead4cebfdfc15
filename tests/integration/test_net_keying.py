"""The keying modes that need no agents: what they let through and what they do not. In the guest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from net_lab import LAN_WITH_EVERYTHING, Played, from_yaml, play

from testbed.probes.pcap import cleartext_packets, ip_packets, protected_packets

pytestmark = pytest.mark.guest


def captures(played: Played) -> list[Path]:
    found = sorted((played.folder / "pcap").glob("*.pcap"))
    assert found
    return found


def between_routers(played: Played) -> list[Path]:
    """The captures of interfaces that face another router."""
    topology = played.plan.topology
    names = {adjacency.interface.name for router in topology.routers for adjacency in topology.neighbors(router)}
    return [path for path in captures(played) if path.stem in names]


def test_native_keys_bring_ospfv2_and_ospfv3_up(tmp_path: Path) -> None:
    topology = from_yaml(tmp_path, LAN_WITH_EVERYTHING)
    played = play(tmp_path, topology, keying="native", duration_s=90)
    assert len(played.adjacency("ospfd", "Full")) == 6
    assert len(played.adjacency("ospf6d", "Full")) == 6


def test_a_router_with_another_native_key_gets_no_adjacency(tmp_path: Path) -> None:
    topology = from_yaml(tmp_path, LAN_WITH_EVERYTHING)
    played = play(tmp_path, topology, keying="native", duration_s=90, options={"wrong_key": ["r2"]})
    for daemon in ("ospfd", "ospf6d"):
        full = played.adjacency(daemon, "Full")
        assert {event["node"] for event in full} == {"r1", "r3"}


@pytest.mark.parametrize("transform", ["esp", "esp-null", "ah"])
def test_a_capture_under_manual_keys_holds_no_cleartext_from_the_first_packet_on(
    tmp_path: Path, transform: str
) -> None:
    topology = from_yaml(tmp_path, LAN_WITH_EVERYTHING)
    played = play(
        tmp_path,
        topology,
        keying="manual",
        duration_s=160,
        captures="all",
        options={"transform": transform},
        timeline=[
            {"at_s": 80, "action": "power_off", "args": {"nodes": ["r2"]}},
            {"at_s": 90, "action": "power_on", "args": {"nodes": ["r2"]}},
        ],
    )
    for daemon in ("ospfd", "ospf6d"):
        assert len(played.adjacency(daemon, "Full")) >= 10
    assert len(played.adjacency("pimd", "Up")) >= 6
    for path in between_routers(played):
        assert cleartext_packets(path) == []
        assert len(protected_packets(path)) > 20


def test_the_capture_holds_cleartext_when_there_is_no_keying(tmp_path: Path) -> None:
    played = play(tmp_path, "ring:3", captures="all", duration_s=30)
    for path in between_routers(played):
        assert len(cleartext_packets(path)) > 5
    first = min(packet.time_ns for path in captures(played) for packet in ip_packets(path))
    ready = played.of("lab", "ready")[0]["t"]
    assert first < ready
