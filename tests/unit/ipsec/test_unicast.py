"""The plan for unicast PIM: what each mode asks of SPD and SAD at a rendezvous point and at a first-hop router."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from itertools import pairwise
from typing import Any

import pytest

from agents.ipsec.model import Action, Direction, Policy, Wanted
from agents.ipsec.plan import OWN_PRIORITIES, OWN_REQIDS, PAIR_REQIDS, wanted_state
from agents.ipsec.protection import GroupSa, Mode, ProtectedInterface, RoutingProtocol, Suite
from agents.ipsec.unicast import PairSa, Unicast, UnicastPeer, UnicastPoint, with_unicast

PIM = RoutingProtocol.PIM
POINT, FIRST_HOP, OTHER = IPv4Address("10.3.3.3"), IPv4Address("10.1.0.1"), IPv4Address("10.2.0.1")
RAW = 255


def at_first_hop(mode: Mode, *sas: PairSa) -> Unicast:
    return Unicast((UnicastPoint(POINT, PIM, mode, False),), (UnicastPeer(5, PIM, mode, (FIRST_HOP,), (POINT,)),), sas)


def at_point(mode: Mode, *sas: PairSa) -> Unicast:
    peers = (
        UnicastPeer(2, PIM, mode, (POINT,), (FIRST_HOP,)),
        UnicastPeer(3, PIM, mode, (POINT,), (OTHER, IPv4Address("10.2.1.1"))),
    )
    return Unicast((UnicastPoint(POINT, PIM, mode, True),), peers, sas)


def key(spi: int = 0x1000, **changes: Any) -> PairSa:
    out = PairSa(spi, Suite.default(), bytes(48), FIRST_HOP, POINT, 5, True)
    return replace(out, **changes)


def decides(wanted: Wanted, direction: Direction, source: str, destination: str, protocol: int) -> Policy | None:
    """The policy that a packet meets, as the kernel would choose it; the device is open."""
    fitting = [
        policy
        for policy in wanted.policies
        if policy.direction is direction
        and ip_address(source) in policy.selector.source
        and ip_address(destination) in policy.selector.destination
        and policy.selector.protocol in (0, protocol)
    ]
    return min(fitting, key=lambda policy: policy.priority, default=None)


def blocked(policy: Policy | None) -> bool:
    return policy is not None and policy.action is Action.BLOCK


def test_required_without_keys_sends_no_register_whatever_source_the_route_has() -> None:
    wanted = with_unicast(Wanted(), at_first_hop(Mode.REQUIRED))
    for protocol in (RAW, 103):
        assert blocked(decides(wanted, Direction.OUT, "10.9.9.9", str(POINT), protocol))
    assert decides(wanted, Direction.OUT, "10.9.9.9", str(POINT), 17) is None
    assert decides(wanted, Direction.OUT, "10.9.9.9", "10.4.4.4", RAW) is None


def test_a_register_goes_by_the_pairs_newest_sa_from_any_source() -> None:
    wanted = with_unicast(Wanted(), at_first_hop(Mode.REQUIRED, key(0x2000), key(0x1000)))
    policy = decides(wanted, Direction.OUT, "10.9.9.9", str(POINT), RAW)
    assert policy is not None and policy.templates[0].spi == 0x2000 and not policy.templates[0].optional
    outbound = [each for each in wanted.associations if each.spi == 0x2000]
    assert str(outbound[0].source) == "0.0.0.0" and outbound[0].reqid == policy.templates[0].reqid == PAIR_REQIDS[5]


def test_a_point_hears_each_router_under_that_routers_own_request_id_only() -> None:
    wanted = with_unicast(Wanted(), at_point(Mode.REQUIRED))
    seen = {}
    for source in (FIRST_HOP, OTHER):
        policy = decides(wanted, Direction.IN, str(source), str(POINT), 103)
        assert policy is not None and policy.action is Action.ALLOW and not policy.templates[0].optional
        seen[source] = policy.templates[0].reqid
    assert seen == {FIRST_HOP: PAIR_REQIDS[2], OTHER: PAIR_REQIDS[3]}


@pytest.mark.parametrize("here", [at_first_hop, at_point])
def test_required_hears_no_unicast_pim_from_a_stranger_and_any_to_the_group(here: object) -> None:
    wanted = with_unicast(Wanted(), here(Mode.REQUIRED))  # type: ignore[operator]
    for destination in (str(POINT), str(FIRST_HOP), "10.0.0.9"):
        assert blocked(decides(wanted, Direction.IN, "10.66.0.1", destination, 103))
    assert not blocked(decides(wanted, Direction.IN, "10.66.0.1", "224.0.0.13", 103))
    assert decides(wanted, Direction.IN, "10.66.0.1", str(POINT), 89) is None


def test_interfaces_that_require_protection_of_the_group_are_not_undone() -> None:
    strict = ProtectedInterface("e0", PIM, Mode.REQUIRED, "lan", IPv4Address("10.0.0.1"), IPv4Network("10.0.0.0/24"))
    wanted = with_unicast(wanted_state([strict], []), at_point(Mode.REQUIRED))
    assert blocked(decides(wanted, Direction.IN, "10.66.0.1", "224.0.0.13", 103))
    policy = decides(wanted, Direction.IN, "10.0.0.2", "224.0.0.13", 103)
    assert policy is not None and policy.templates


@pytest.mark.parametrize("here", [at_first_hop, at_point])
@pytest.mark.parametrize("mode", [Mode.CLEAR, Mode.LISTEN, Mode.PERMISSIVE])
def test_only_required_blocks_anything(mode: Mode, here: object) -> None:
    wanted = with_unicast(Wanted(), here(mode))  # type: ignore[operator]
    assert not [policy for policy in wanted.policies if policy.action is Action.BLOCK]
    if mode is Mode.CLEAR:
        assert wanted == Wanted()
    assert not [each for each in wanted.policies if each.templates and not each.templates[0].optional]


def test_each_step_of_mode_changes_what_is_sent_or_what_is_heard_and_never_both() -> None:
    def sent(mode: Mode) -> object:
        policy = decides(with_unicast(Wanted(), at_first_hop(mode, key())), Direction.OUT, "10.9.9.9", str(POINT), RAW)
        return policy is not None and bool(policy.templates)

    def heard(mode: Mode) -> object:
        policy = decides(with_unicast(Wanted(), at_first_hop(mode)), Direction.IN, str(POINT), str(FIRST_HOP), 103)
        return (policy is not None, policy is not None and not policy.templates[0].optional)

    modes = list(Mode)
    for one, other in pairwise(modes):
        assert (sent(one) == sent(other)) is not (heard(one) == heard(other)), (one, other)


def test_an_inbound_sa_names_the_peers_address_and_protocol_where_it_has_one_address() -> None:
    single = key(0x3000, source=FIRST_HOP, destination=POINT, index=2, outbound=False)
    several = key(0x3001, source=OTHER, destination=POINT, index=3, outbound=False)
    wanted = with_unicast(Wanted(), at_point(Mode.REQUIRED, single, several))
    found = {each.spi: each.selector for each in wanted.associations}
    assert str(found[0x3000]) == "src 10.1.0.1/32 dst 10.3.3.3/32 proto 103"
    assert str(found[0x3001]) == "src 0.0.0.0/0 dst 10.3.3.3/32 proto 103"


def test_a_peers_spi_cannot_take_the_place_of_a_groups_key_or_of_another_peers() -> None:
    lan = ProtectedInterface(
        "e0", RoutingProtocol.OSPF, Mode.REQUIRED, "lan", IPv4Address("10.0.0.1"), IPv4Network("10.0.0.0/24")
    )
    group = GroupSa(
        0x1000, Suite.default(), bytes(48), IPv4Address("10.0.0.1"), POINT, RoutingProtocol.OSPF, "e0", True, 1
    )
    before = wanted_state([lan], [group])
    after = with_unicast(before, at_first_hop(Mode.REQUIRED, key(0x1000), key(0x1000)))
    assert after.associations == before.associations
    policy = decides(after, Direction.OUT, "10.9.9.9", str(POINT), 103)
    assert blocked(policy)


def test_keys_of_a_peer_that_is_not_named_stay_out() -> None:
    wanted = with_unicast(Wanted(), at_first_hop(Mode.REQUIRED, key(index=77)))
    assert wanted.associations == ()


def test_all_that_is_made_is_known_again_as_ours() -> None:
    wanted = with_unicast(Wanted(), at_point(Mode.REQUIRED, key(index=2, destination=FIRST_HOP)))
    assert wanted.associations and all(each.reqid in OWN_REQIDS for each in wanted.associations)
    assert all(each.priority in OWN_PRIORITIES for each in wanted.policies)


def test_no_networks_are_meant_where_addresses_are() -> None:
    for policy in with_unicast(Wanted(), at_point(Mode.REQUIRED)).policies:
        assert policy.selector.destination in (ip_network("0.0.0.0/0"),) or policy.selector.destination.prefixlen == 32
