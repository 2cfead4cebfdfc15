"""Unmodified FRR under the plan: adjacencies come up, and nothing goes over the wire in clear."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ipsec_lab import Link, pass_time

from agents.ipsec.model import Direction, Wanted
from agents.ipsec.protection import LinkKind, Mode, RoutingProtocol, Suite
from tests.integration.captured import cleartext_packets, protected_packets

pytestmark = pytest.mark.guest

OSPF, OSPF6, PIM = RoutingProtocol.OSPF, RoutingProtocol.OSPF6, RoutingProtocol.PIM
ALL = (OSPF, OSPF6, PIM)
ROUTERS: dict[LinkKind, int] = {"p2p": 2, "lan": 3}
MakeLink = Callable[[LinkKind], Link]


@pytest.fixture
def make_link() -> Iterator[MakeLink]:
    made: list[Link] = []

    def make(kind: LinkKind) -> Link:
        made.append(Link(kind, ROUTERS[kind]))
        return made[-1]

    yield make
    for link in made:
        link.close()


def assert_all_adjacent(link: Link, protocols: tuple[RoutingProtocol, ...]) -> None:
    others = len(link.routers) - 1
    for protocol in protocols:
        counts = {router.name: link.full_neighbors(router, protocol) for router in link.routers}
        assert counts == dict.fromkeys(counts, others), protocol


def match_the_protocol_number_only(wanted: Wanted) -> Wanted:
    """The wrong plan: outbound policies for protocol 89 or 103, as one would write them."""
    right = {103: ("224.0.0.13",), 89: ("224.0.0.5", "224.0.0.6", "ff02::5", "ff02::6")}
    numbers = {address: number for number, all_ in right.items() for address in all_}
    wrong = {}
    for policy in wanted.policies:
        if policy.direction is Direction.OUT:
            group = str(policy.selector.destination.network_address)
            number = numbers.get(group, 89)
            policy = replace(policy, selector=replace(policy.selector, protocol=number))
        wrong.setdefault(policy.identity, policy)
    return replace(wanted, policies=tuple(wrong.values()))


@pytest.mark.parametrize("kind", ["p2p", "lan"])
def test_adjacencies_come_up_and_no_cleartext_is_on_the_wire(make_link: MakeLink, kind: LinkKind) -> None:
    link = make_link(kind)
    for router in link.routers:
        link.protect(router, ALL, link.keys(router, ALL))
    pcap = link.capture()
    link.start_frr(ALL)
    pass_time(40)
    assert_all_adjacent(link, ALL)
    link.end_captures()
    assert cleartext_packets(pcap) == []
    assert len(protected_packets(pcap)) > 100


@pytest.mark.parametrize("kind", ["p2p", "lan"])
def test_the_search_for_cleartext_finds_a_wrong_outbound_policy(make_link: MakeLink, kind: LinkKind) -> None:
    link = make_link(kind)
    for router in link.routers:
        keys = link.keys(router, ALL)
        link.protect(router, ALL, keys, spoil=match_the_protocol_number_only)
    pcap = link.capture()
    link.start_frr((OSPF, PIM))
    pass_time(10)
    link.end_captures()
    leaked = {(packet.protocol, str(packet.destination)) for packet in cleartext_packets(pcap)}
    assert {(89, "224.0.0.5"), (103, "224.0.0.13")} <= leaked


@pytest.mark.parametrize("kind", ["p2p", "lan"])
def test_without_keys_a_required_interface_is_silent_and_deaf(make_link: MakeLink, kind: LinkKind) -> None:
    link = make_link(kind)
    guarded, *others = link.routers
    link.protect(guarded, ALL, [])
    pcap = link.capture()
    link.start_frr(ALL)
    pass_time(20)
    assert [link.full_neighbors(guarded, protocol) for protocol in ALL] == [0, 0, 0]
    link.end_captures()
    sources = {packet.source for packet in cleartext_packets(pcap)}
    assert sources == {other.address(p) for other in others for p in ALL}


@pytest.mark.parametrize("kind", ["p2p", "lan"])
def test_keys_that_come_later_bring_the_adjacencies_up(make_link: MakeLink, kind: LinkKind) -> None:
    link = make_link(kind)
    for router in link.routers:
        link.protect(router, ALL, [])
    pcap = link.capture()
    link.start_frr(ALL)
    pass_time(10)
    for router in link.routers:
        link.protect(router, ALL, link.keys(router, ALL))
    pass_time(40)
    assert_all_adjacent(link, ALL)
    link.end_captures()
    assert cleartext_packets(pcap) == []


@pytest.mark.parametrize("suite", [Suite.ESP_NULL_SHA256, Suite.ESP_AES256_SHA256])
def test_every_group_suite_carries_an_adjacency(make_link: MakeLink, suite: Suite) -> None:
    link = make_link("p2p")
    for router in link.routers:
        link.protect(router, (OSPF,), link.keys(router, (OSPF,), suite=suite))
    link.start_frr((OSPF,))
    pass_time(20)
    assert_all_adjacent(link, (OSPF,))


@pytest.mark.parametrize("kind", ["p2p", "lan"])
def test_deployment_step_by_step_loses_no_adjacency(make_link: MakeLink, kind: LinkKind) -> None:
    link = make_link(kind)
    link.start_frr(ALL)
    pass_time(40)
    assert_all_adjacent(link, ALL)
    before = adjacency_changes(link)
    for mode in (Mode.LISTEN, Mode.PERMISSIVE, Mode.REQUIRED, Mode.PERMISSIVE, Mode.LISTEN, Mode.CLEAR):
        for router in link.routers:
            link.protect(router, ALL, link.keys(router, ALL) if mode is not Mode.CLEAR else [], mode)
            pass_time(50)  # longer than the dead interval: a neighbour may follow as late as it likes
        if mode is Mode.REQUIRED:
            pcap = link.capture()
            pass_time(10)
            link.end_captures()
            assert cleartext_packets(pcap) == []
    assert_all_adjacent(link, ALL)
    assert adjacency_changes(link) == before


@pytest.mark.parametrize("kind", ["p2p", "lan"])
def test_ten_rekeys_lose_no_adjacency_and_no_packet(make_link: MakeLink, kind: LinkKind) -> None:
    link = make_link(kind)
    for router in link.routers:
        link.protect(router, ALL, link.keys(router, ALL, 1))
    link.start_frr(ALL)
    pass_time(40)
    assert_all_adjacent(link, ALL)
    before, counted = adjacency_changes(link), [r.xfrm_stat() for r in link.routers]
    pcap = link.capture()
    for new in range(2, 12):
        for active in (False, True):
            for router in link.routers:
                keys = link.keys(router, ALL, new - 1) + link.keys(router, ALL, new, active=active)
                link.protect(router, ALL, keys)
                pass_time(0.7)
        for router in link.routers:
            link.protect(router, ALL, link.keys(router, ALL, new))
    pass_time(5)
    link.end_captures()
    assert adjacency_changes(link) == before
    assert [r.xfrm_stat() for r in link.routers] == counted
    assert cleartext_packets(pcap) == []


def adjacency_changes(link: Link) -> dict[str, int]:
    """Lines about adjacency changes in every OSPF daemon's log."""
    return {
        str(log): log.read_text().count("AdjChg") + log.read_text().count("Neighbor state change")
        for router in link.routers
        for log in sorted((link.folder / router.name).glob("ospf*d.log"))
    }
