"""The plan: what each mode of each protocol on each kind of link asks of SPD and SAD."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from agents.ipsec.model import Action, Direction, Policy, Wanted
from agents.ipsec.plan import OWN_PRIORITIES, OWN_REQID, wanted_state
from agents.ipsec.protection import GroupSa, Mode, ProtectedInterface, RoutingProtocol, Suite
from testbed.soak.spd import heard_in_clear, sent_in_clear

OSPF, OSPF6, PIM = RoutingProtocol.OSPF, RoutingProtocol.OSPF6, RoutingProtocol.PIM


def interface(
    protocol: RoutingProtocol = OSPF, mode: Mode = Mode.REQUIRED, name: str = "r1-eth0", net: int = 0
) -> ProtectedInterface:
    v4 = protocol in (OSPF, PIM)
    return ProtectedInterface(
        name, protocol, mode, "lan",
        ip_address(f"10.0.{net}.1" if v4 else f"fe80::{net + 1}"),
        ip_network(f"10.0.{net}.0/24" if v4 else "fe80::/10"),
    )  # fmt: skip


def key(destination: str = "224.0.0.5", **changes: object) -> GroupSa:
    outbound = GroupSa(
        spi=0x1000, suite=Suite.default(), keymat=bytes(range(48)), speaker=ip_address("10.0.0.1"),
        destination=ip_address(destination), protocol=OSPF, interface="r1-eth0", outbound=True,
        generation=1,
    )  # fmt: skip
    return replace(outbound, **changes)


def sent_to(wanted: Wanted, destination: str) -> list[Policy]:
    return [
        policy
        for policy in wanted.policies
        if policy.direction is Direction.OUT and str(policy.selector.destination).split("/")[0] == destination
    ]


def inbound(wanted: Wanted) -> list[Policy]:
    return [policy for policy in wanted.policies if policy.direction is Direction.IN]


@pytest.mark.parametrize("protocol", [OSPF, OSPF6, PIM])
def test_clear_alone_wants_nothing(protocol: RoutingProtocol) -> None:
    assert wanted_state([interface(protocol, Mode.CLEAR)], []) == Wanted()


@pytest.mark.parametrize("protocol", RoutingProtocol)
def test_required_without_keys_blocks_every_group_whatever_the_protocol_number(
    protocol: RoutingProtocol,
) -> None:
    wanted = wanted_state([interface(protocol)], [])
    for group in protocol.reserved_groups:
        (policy,) = sent_to(wanted, str(group))
        assert policy.action is Action.BLOCK
        assert policy.selector.protocol == 0
        assert policy.selector.interface == "r1-eth0"


def test_required_ospf_blocks_unicast_as_protocol_255_and_89() -> None:
    wanted = wanted_state([interface()], [])
    assert [(p.selector.protocol, p.action) for p in sent_to(wanted, "10.0.0.0")] == [(255, Action.BLOCK)]
    assert [(p.selector.protocol, p.action) for p in sent_to(wanted, "0.0.0.0")] == [(89, Action.BLOCK)]


def test_a_group_key_is_named_by_its_spi() -> None:
    (policy,) = sent_to(wanted_state([interface()], [key()]), "224.0.0.5")
    (template,) = policy.templates
    assert (template.spi, template.reqid, template.optional) == (0x1000, OWN_REQID, False)


def test_a_pair_key_is_used_for_255_and_89_and_for_nothing_else() -> None:
    policies = sent_to(wanted_state([interface()], [key("10.0.0.2")]), "10.0.0.2")
    assert sorted(policy.selector.protocol for policy in policies) == [89, 255]
    assert {policy.templates[0].spi for policy in policies} == {0x1000}


@pytest.mark.parametrize(("mode", "action"), [(Mode.REQUIRED, Action.BLOCK), (Mode.PERMISSIVE, Action.ALLOW)])
def test_a_key_that_is_not_active_does_not_send(mode: Mode, action: Action) -> None:
    wanted = wanted_state([interface(mode=mode)], [key(active=False)])
    (policy,) = sent_to(wanted, "224.0.0.5")
    assert (policy.action, policy.templates) == (action, ())
    assert len(wanted.associations) == 1


def test_of_two_active_generations_the_higher_sends() -> None:
    keys = [key(spi=0x1002, generation=2), key(spi=0x1001, generation=1)]
    (policy,) = sent_to(wanted_state([interface()], keys), "224.0.0.5")
    assert policy.templates[0].spi == 0x1002


def test_permissive_protects_where_it_can_and_hears_both() -> None:
    wanted = wanted_state([interface(mode=Mode.PERMISSIVE)], [key()])
    (policy,) = sent_to(wanted, "224.0.0.5")
    assert policy.templates[0].optional
    (heard,) = inbound(wanted)
    assert heard.templates[0].optional
    assert not any(p.action is Action.BLOCK for p in wanted.policies)


def test_required_ospf_drops_all_ospf_that_no_subnet_lets_in() -> None:
    let_in, rest = inbound(wanted_state([interface()], []))
    assert str(let_in.selector) == "src 10.0.0.0/24 dst 0.0.0.0/0 proto 89"
    assert not let_in.templates[0].optional
    assert (str(rest.selector), rest.action) == ("src 0.0.0.0/0 dst 0.0.0.0/0 proto 89", Action.BLOCK)
    assert let_in.priority < rest.priority


def test_required_pim_leaves_unicast_pim_alone() -> None:
    for policy in wanted_state([interface(PIM)], []).policies:
        assert str(policy.selector.destination) == "224.0.0.13/32"


def test_a_clear_neighbour_interface_is_let_in_by_its_subnet() -> None:
    wanted = wanted_state([interface(), interface(mode=Mode.CLEAR, name="r1-eth1", net=1)], [])
    (passed,) = [p for p in inbound(wanted) if not p.templates and p.action is Action.ALLOW]
    assert str(passed.selector.source) == "10.0.1.0/24"
    assert not [p for p in wanted.policies if p.selector.interface == "r1-eth1"]


def test_ipv6_is_bound_by_the_interface_and_the_link_local_destination() -> None:
    wanted = wanted_state([interface(OSPF6), interface(OSPF6, Mode.CLEAR, "r1-eth1", 1)], [])
    places = {
        (str(p.selector.destination), p.selector.interface): bool(p.templates)
        for p in inbound(wanted)
        if p.action is Action.ALLOW
    }
    assert places == {
        ("ff02::5/128", "r1-eth0"): True, ("ff02::6/128", "r1-eth0"): True, ("fe80::1/128", None): True,
        ("ff02::5/128", "r1-eth1"): False, ("ff02::6/128", "r1-eth1"): False, ("fe80::2/128", None): False,
    }  # fmt: skip


def test_where_two_interfaces_share_a_subnet_the_stricter_mode_holds() -> None:
    wanted = wanted_state([interface(mode=Mode.CLEAR, name="r1-eth1"), interface()], [])
    (heard,) = [p for p in inbound(wanted) if str(p.selector.source) == "10.0.0.0/24"]
    assert not heard.templates[0].optional


def test_an_inbound_group_sa_binds_speaker_group_and_protocol() -> None:
    (sa,) = wanted_state([interface()], [key(outbound=False, speaker=ip_address("10.0.0.2"))]).associations
    assert str(sa.selector) == "src 10.0.0.2/32 dst 224.0.0.5/32 proto 89"
    assert sa.replay_window == 32


def test_an_outbound_sa_fits_whatever_protocol_the_daemon_is_looked_up_as() -> None:
    (sa,) = wanted_state([interface()], [key()]).associations
    assert sa.selector is not None
    assert sa.selector.protocol == 0


def test_keymat_is_cut_into_cipher_key_and_integrity_key() -> None:
    (sa,) = wanted_state([interface()], [key()]).associations
    assert sa.encryption is not None
    assert sa.integrity is not None
    assert (sa.encryption.key, sa.integrity.key) == (bytes(range(16)), bytes(range(16, 48)))


def test_an_aead_pair_key_goes_whole_to_the_kernel() -> None:
    suite = Suite.ESP_AES128_GCM16
    (sa,) = wanted_state([interface()], [key("10.0.0.2", suite=suite, keymat=bytes(range(20)))]).associations
    assert sa.aead is not None
    assert (sa.aead.name, sa.aead.key, sa.aead.icv_bits) == ("rfc4106(gcm(aes))", bytes(range(20)), 128)


def test_a_clear_interface_hears_with_keys_but_does_not_send_with_them() -> None:
    heard = key(outbound=False, spi=0x2000)
    wanted = wanted_state([interface(mode=Mode.CLEAR)], [key(), heard])
    assert [sa.spi for sa in wanted.associations] == [0x2000]


def test_two_keys_of_one_destination_and_spi_are_refused() -> None:
    with pytest.raises(ValueError, match="two keys"):
        wanted_state([interface()], [key(), key(keymat=bytes(48))])


@pytest.mark.parametrize(
    "wrong",
    [{"spi": 255}, {"keymat": bytes(47)}, {"replay_floor": 2**32}, {"speaker": ip_address("fe80::1")},
     {"suite": Suite.ESP_AES128_GCM16, "keymat": bytes(20)}],
)  # fmt: skip
def test_a_key_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        key(**wrong)


def everything() -> Iterable[ProtectedInterface]:
    for net, mode in enumerate(Mode):
        for protocol in RoutingProtocol:
            yield interface(protocol, mode, f"r1-eth{net}", net)


def test_every_policy_bears_the_mark_of_ours() -> None:
    wanted = wanted_state(everything(), [key()])
    assert all(policy.priority in OWN_PRIORITIES for policy in wanted.policies)
    assert all(sa.reqid == OWN_REQID for sa in wanted.associations)


def test_the_order_of_the_input_does_not_matter() -> None:
    interfaces = list(everything())
    assert wanted_state(interfaces, [key()]) == wanted_state(interfaces[::-1], [key()])


def test_no_policy_touches_ike() -> None:
    for policy in wanted_state(everything(), [key("10.0.0.2")]).policies:
        assert policy.selector.protocol != 17
        assert policy.selector.protocol or policy.selector.destination.is_multicast


@pytest.mark.parametrize(("strict", "free"), [(PIM, OSPF), (OSPF, PIM)])
def test_one_protocol_of_an_interface_is_required_and_the_other_passes_in_clear(
    strict: RoutingProtocol, free: RoutingProtocol
) -> None:
    wanted = wanted_state([interface(strict), interface(free, Mode.CLEAR)], [])
    neighbor = ip_address("10.0.0.2")
    for protocol, passes in ((strict, False), (free, True)):
        for group in protocol.reserved_groups:
            assert heard_in_clear(wanted, "r1-eth0", protocol.ip_protocol, neighbor, group) is passes
            assert sent_in_clear(wanted, "r1-eth0", group) is passes
