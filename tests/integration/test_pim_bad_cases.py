"""PIM where something is missing: a rendezvous point that nobody reaches, and one that is removed; a receiver whose
router has no key; a LAN in two parts. With every packet protected by Local Key Servers. In the guest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from net_lab import Played, from_yaml, play

from tests.integration.captured import cleartext_packets

pytestmark = pytest.mark.guest
RATE_PPS = 5
LINE = "links: [r1-r2, r2-r3, r3-r4]\npim: {rp: r3}\ndks: {attach: r1}\n"
OFFICE = "lans: {office: [r1, r2, r3]}\nlinks: [r1-r4]\npim: {rp: r2}\n"
AGAIN_S = 75
"""Within so long a receiver hears again: a minute is the longest between two Registers or two Joins."""


def stream(name: str, group: str, source: str, *receivers: str, since_s: float, **fields: Any) -> dict[str, Any]:
    shared = {"name": name, "group": group, "source": source, "receivers": receivers, "rate_pps": RATE_PPS}
    return {**shared, "since_s": since_s, **fields}


def missed(played: Played, name: str, receiver: str, since_s: float, until_s: float = 1e9) -> int:
    """How many packets of a stream that were sent in this time (seconds of the plan) a receiver did not hear."""
    ready = played.at("lab", "ready")
    found = 0
    for event in played.of("probe", "stream_loss", stream=name, receiver=receiver):
        first, last = (event[key] / 1e9 - ready for key in ("sent_first_ns", "sent_last_ns"))
        count = event["last_seq"] - event["first_seq"] + 1
        gap = (last - first) / max(1, count - 1)
        found += sum(since_s <= first + number * gap < until_s for number in range(count))
    return found


def nothing_in_clear(played: Played) -> bool:
    files = list((played.folder / "pcap").glob("*.pcap"))
    return bool(files) and not any(cleartext_packets(each) for each in files)


def test_without_a_rendezvous_point_source_specific_streams_flow_and_no_register_is_sent_in_clear(
    tmp_path: Path,
) -> None:
    """First nobody reaches it: its link is cut. Then it is there. Then the administrator removes it."""
    any_, specific = ("any", "239.1.1.1", "r1", "r2"), ("specific", "232.1.1.1", "r1", "r2")
    played = play(
        tmp_path,
        from_yaml(tmp_path, LINE),
        keying="lks",
        duration_s=330.0,
        captures="all",
        streams=[
            stream(*any_, since_s=50, until_s=320),
            stream(*specific, since_s=50, until_s=320, specific=True),
            stream("late", "239.1.1.2", "r1", "r2", since_s=240, until_s=320),
        ],
        timeline=[
            {"at_s": 40, "action": "link_carrier_down", "args": {"segment": "r2--r3"}},
            {"at_s": 110, "action": "link_carrier_up", "args": {"segment": "r2--r3"}},
            {"at_s": 210, "action": "router_remove", "args": {"router": "r3", "hand_to": "r2"}},
        ],
    )
    assert played.code == 0
    assert missed(played, "specific", "r2", 52) == 0, "a source's own tree needs no rendezvous point"
    assert missed(played, "any", "r2", 52, 105) == 53 * RATE_PPS, "there is no other way to a source nobody knows"
    assert missed(played, "any", "r2", 110 + AGAIN_S, 205) == 0
    assert missed(played, "late", "r2", 245) >= 75 * RATE_PPS, "the removed router is no rendezvous point of anybody"
    removed = played.at("fault", "router_remove")
    lost = [each for each in played.adjacency("ospfd", "Deleted", removed) if each["node"] in ("r1", "r2")]
    assert {each["neighbor"] for each in lost} <= {str(played.plan.topology.routers["r3"].router_id)}
    assert nothing_in_clear(played)


def test_a_receiver_is_served_when_its_router_gets_keys_and_a_lan_in_two_parts_has_two_designated_routers(
    tmp_path: Path,
) -> None:
    """r4 boots while its one neighbour has no power. Later r1 and the others of the LAN do not hear each other for
    longer than PIM's hold time of 105 s."""
    topology = from_yaml(tmp_path, OFFICE)
    played = play(
        tmp_path,
        topology,
        keying="lks",
        duration_s=370.0,
        captures="all",
        streams=[
            stream("any", "239.1.1.1", "r3", "r4", since_s=95, until_s=185),
            stream("specific", "232.1.1.1", "r3", "r4", since_s=95, until_s=185, specific=True),
        ],
        timeline=[
            {"at_s": 60, "action": "power_off", "args": {"nodes": ["r1", "r4"]}},
            {"at_s": 70, "action": "power_on", "args": {"nodes": ["r4"], "jitter_s": 0}},
            {"at_s": 105, "action": "power_on", "args": {"nodes": ["r1"], "jitter_s": 0}},
            {"at_s": 190, "action": "mark", "args": {"name": "parted"}},
            {"at_s": 190, "action": "partition", "args": {"groups": [["r1", "r4"], ["r2", "r3"]]}},
            {"at_s": 320, "action": "mark", "args": {"name": "healed"}},
            {"at_s": 320, "action": "heal", "args": {}},
        ],
    )
    assert played.code == 0
    for name in ("any", "specific"):
        assert missed(played, name, "r4", 95, 105) == 10 * RATE_PPS, "its router has no key of anybody"
        assert missed(played, name, "r4", 105 + AGAIN_S) == 0, name

    addresses = {end.router: str(end.ipv4.ip) for router in topology.routers.values() for end in router.interfaces
                 if end.segment == "office"}  # fmt: skip
    own = {end.router: end.name for router in topology.routers.values() for end in router.interfaces
           if end.segment == "office"}  # fmt: skip

    def designated(router: str, until: float) -> str:
        """Whom a router takes for the LAN's designated one at a time in seconds."""
        found = [e for e in played.of("frr", "dr", node=router, ifname=own[router]) if e["t"] / 1e9 < until]
        return str(found[-1]["address"])

    parted, healed = (played.at("lab", "mark", name=name) for name in ("parted", "healed"))
    before = {designated(router, parted) for router in own}
    assert before == {addresses["r3"]}, "the greatest address (RFC 7761, section 4.3.2)"
    apart = {router: designated(router, healed) for router in own}
    assert apart == {"r1": addresses["r1"], "r2": addresses["r3"], "r3": addresses["r3"]}
    assert {designated(router, 1e9) for router in own} == {addresses["r3"]}, "together again there is one"
    assert nothing_in_clear(played)
