"""The keying modes that need no agents: what they let through and what they do not. In the guest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from net_lab import LAN_WITH_EVERYTHING, Played, from_yaml, play

from testbed.analysis import adjacency
from testbed.analysis.numbering import numbering
from testbed.analysis.run import Run
from testbed.probes.pcap import ip_packets
from tests.integration.captured import cleartext_packets, protected_packets

pytestmark = pytest.mark.guest


def captures(played: Played) -> list[Path]:
    found = sorted((played.folder / "pcap").glob("*.pcap"))
    assert found
    return found


def between_routers(played: Played) -> list[Path]:
    """The captures of interfaces that face another router."""
    topology = played.plan.topology
    names = {near.interface.label for router in topology.routers for near in topology.neighbors(router)}
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
    (counted,) = played.of("probe", "clear")
    packets = {label: sum(each["packets"].values()) for label, each in counted["interfaces"].items()}
    # A capture holds what its interface sent and what it heard; a count only the former.
    routers = played.plan.topology.routers.values()
    addresses = {each.label: each.ipv4.ip for router in routers for each in router.interfaces if each.ipv4 is not None}
    sent = {
        path.stem: sum(packet.source == addresses[path.stem] for packet in cleartext_packets(path))
        for path in between_routers(played)
    }
    assert packets == sent and counted["missed"] == 0
    assert min(each["first_ns"] for each in counted["interfaces"].values()) < ready


MANY = """\
ospf: {versions: [2, 3]}
pim: {rp: core-ams-01}
links:
  - {between: [core-ams-01, core-lon-02], delay: 4ms}
  - {between: [core-ams-01, core-lon-02], delay: 4ms}
  - {between: [core-lon-02, edge.nyc.example], delay: 35ms}
  - {between: [edge.nyc.example, core-ams-01], delay: 40ms, cost: 30}
lans:
  lab.floor-3: [core-ams-01, core-lon-02, r4]
hosts: {desk-of-a.colleague: {on: edge.nyc.example}}
"""
CUT = "core-ams-01--core-lon-02#2"


def test_long_names_and_links_side_by_side_are_keyed_cut_and_rebooted_as_any_others(tmp_path: Path) -> None:
    topology = from_yaml(tmp_path, MANY)
    played = play(
        tmp_path,
        topology,
        keying="lks",
        duration_s=140,
        captures="all",
        options={"sad": True},
        timeline=[
            {"at_s": 60, "action": "clock_step", "args": {"node": "edge.nyc.example", "seconds": 5}},
            {"at_s": 60, "action": "link_carrier_down", "args": {"segment": CUT}},
            {"at_s": 70, "action": "power_off", "args": {"nodes": ["edge.nyc.example"]}},
            {"at_s": 75, "action": "power_on", "args": {"nodes": ["edge.nyc.example"]}},
        ],
    )
    assert played.code == 0
    run = Run(tmp_path)
    lost = {ends: moments for ends, moments in adjacency.falls(topology, run.events).items() if moments}
    one = {ends.interface for ends in lost if {ends.router, ends.neighbor} == {"core-ams-01", "core-lon-02"}}
    assert one == {"eth1"}
    assert adjacency.up_at_end(topology, run.events) == len(adjacency.expected(topology)) - 2
    for router, routes in run.expected(frozenset({CUT})).items():
        wanted = {str(prefix): frozenset(map(str, hops)) for prefix, hops in routes.items()}
        assert played.routes_at_end(router) == wanted, router
    found = numbering(run)
    assert found is not None and not (found.keyless or found.two_keys), found
    (counted,) = played.of("probe", "clear")
    assert (counted["interfaces"], counted["missed"]) == ({}, 0)
    captured = {path.stem for path in captures(played)}
    assert {"core-ams-01-eth0", "core-ams-01-eth1", "r4-eth0", "desk-of-a.colleague-eth0"} <= captured
    for path in captures(played):
        assert not cleartext_packets(path), path
        facing_routers = path.stem in {
            each.interface.label for router in topology.routers for each in topology.neighbors(router)
        }
        assert bool(protected_packets(path)) == facing_routers, path
