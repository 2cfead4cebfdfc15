"""Multicast through unmodified FRR: streams, their trees in the kernels, and what a link that is dead for two seconds
costs; then the same between hosts with every routing packet protected. In the guest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from net_lab import Played, from_yaml, play

from testbed.probes.pcap import ip_packets
from testbed.runner.streams import usual_streams
from testbed.topology.load import load
from tests.integration.captured import protected_packets

pytestmark = pytest.mark.guest
RATE_PPS = 10
IGMP, UDP = 2, 17
HOSTS = "links: [r1-r2, r2-r3]\nhosts: {one: {on: r1}, two: {on: r3}}\npim: {rp: r2}\n"


def tree(played: Played, router: str, origin: str, group: str, until: float) -> tuple[str | None, list[str]]:
    """A router's forwarding entry at a time in seconds: where packets come in and where they go out."""
    found = [
        event for event in played.of("mroute", node=router, origin=origin, group=group) if event["t"] / 1e9 < until
    ]
    assert found and found[-1]["kind"] != "del", (router, origin, group)
    return found[-1]["iif"], found[-1]["oifs"]


def heard(played: Played) -> dict[tuple[str, str], tuple[int, int]]:
    """By stream and receiver: how many packets it lost, and how many it had twice."""
    return {
        (event["stream"], event["receiver"]): (event["sent"] - event["received"], event["duplicated"])
        for event in played.of("probe", "stream")
    }


def test_streams_of_a_router_take_their_trees_lose_what_a_dead_link_takes_and_come_back(tmp_path: Path) -> None:
    """In a ring r3 sends, r2 and r4 beside it receive, and r1 opposite is the rendezvous point."""
    topology = load("ring:4")
    assert topology.pim is not None and topology.pim.rp == "r1"
    source = str(topology.routers["r3"].loopback.ip)
    played = play(
        tmp_path,
        topology,
        duration_s=130.0,
        streams=usual_streams(topology, 50, 120, rate_pps=RATE_PPS),
        timeline=[
            {"at_s": 80, "action": "mark", "args": {"name": "dead"}},
            {"at_s": 80, "action": "link_blackhole", "args": {"segment": "r2--r3"}},
            {"at_s": 82, "action": "link_heal", "args": {"segment": "r2--r3"}},
        ],
    )
    assert played.code == 0
    dead = played.at("lab", "mark", name="dead")

    # The source's own tree: it leaves r3 by both links, though Registers and the shared tree went by r1.
    for group in ("239.1.1.1", "232.1.1.1"):
        iif, oifs = tree(played, "r3", source, group, dead)
        assert iif == "lo" and {"r3-eth0", "r3-eth1"} <= set(oifs), group
        for router, towards in (("r2", "r2-eth1"), ("r4", "r4-eth0")):
            iif, oifs = tree(played, router, source, group, dead)
            assert iif == towards and "receivers" in oifs, (router, group)
    assert tree(played, "r2", "*", "239.1.1.1", dead)[0] == "r2-eth0", "the shared tree comes from the rendezvous point"
    assert not played.of("mroute", origin="*", group="232.1.1.1"), "a source-specific group has no shared tree"

    # Nothing comes twice, and the link's two seconds are lost behind it alone.
    assert heard(played).keys() == {(name, each) for name in ("any-1", "specific-1") for each in ("r2", "r4")}
    for (stream, receiver), (lost, twice) in heard(played).items():
        first = [event for event in played.of("probe", "stream_loss", stream=stream) if event["t"] / 1e9 < dead]
        early = sum(event["last_seq"] - event["first_seq"] + 1 for event in first if event["receiver"] == receiver)
        assert twice == 0 and early <= 3, "only the first packets, until the first Register has gone and come"
        assert abs(lost - early - (2 * RATE_PPS if receiver == "r2" else 0)) <= 1, (stream, receiver)

    # What the routers told each other.
    beside = {str(topology.routers[name].interface(f"{name}-eth{end}").ipv4.ip) for name, end in (("r2", 1), ("r4", 0))}
    for group in ("239.1.1.1", "232.1.1.1"):
        joined = played.of("pim", "join", node="r3", origin=source, group=group)
        assert {event["neighbor"] for event in joined} == beside, group
    assert played.of("pim", "register", node="r1", neighbor=source, origin=source, group="239.1.1.1", null=False)
    stopped = played.of("pim", "register_stop", node="r3", origin=source, group="239.1.1.1")
    assert {event["neighbor"] for event in stopped} == {str(topology.pim.rp_address)}
    assert not played.of("pim", "register", group="232.1.1.1")
    (last,) = played.of("pim", "stat", node="r1", at="end")
    assert last["counters"]["hello"] > 0 and last["counters"]["register"] > 0
    assert len(played.of("pim", "stat", node="r1", at="dead")) == 1
    (*_, elected) = [event["address"] for event in played.of("frr", "dr", node="r2", ifname="r2-eth1")]
    assert elected == str(topology.routers["r3"].interface("r3-eth0").ipv4.ip), "the higher address of the two"
    up = {(event["node"], event["ifname"]) for event in played.adjacency("pimd", "Up")}
    assert up == {(each.name, end.name) for each in topology.routers.values() for end in each.interfaces[:2]}


def test_between_hosts_with_local_key_servers_only_data_and_igmp_are_in_clear(tmp_path: Path) -> None:
    topology = from_yaml(tmp_path, HOSTS)
    streams = usual_streams(topology, 60, 90, rate_pps=RATE_PPS)
    assert {stream.source for stream in streams} == {"one"} and streams[0].receivers == ("two",)
    played = play(tmp_path, topology, keying="lks", duration_s=100.0, streams=streams, captures="all")
    assert played.code == 0
    assert all(lost <= 3 and twice == 0 for lost, twice in heard(played).values()) and len(heard(played)) == 2
    protocols = {
        file.stem: {packet.protocol for packet in ip_packets(file)} for file in (tmp_path / "pcap").glob("*.pcap")
    }
    between = {name for name in protocols if not name.startswith(("one", "two")) and "eth0" in name}
    assert {"r1-eth0", "r2-eth0", "r3-eth0"} <= between
    assert all(not {89, 103} & found for found in protocols.values()), "no OSPF and no PIM in clear"
    assert protected_packets(tmp_path / "pcap" / "r1-eth0.pcap")
    assert IGMP in protocols["two-eth0"] and UDP in protocols["two-eth0"]
