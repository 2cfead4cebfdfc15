"""A router's retained folder was lost, or put back to an older one as a whole: its neighbours show it what it said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from agents.ipsec.protection import GroupSa, RoutingProtocol
from agents.lks.context import Context
from agents.lks.retained import DOCUMENT
from agents.policy import edit
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from agents.policy.group import MOST_AHEAD, GroupState, sign_group_state
from agents.policy.names import GroupId
from testbed.simulation.network import Network
from testbed.simulation.parties import key
from testbed.simulation.wires import Passing
from testbed.soak.faults import with_issuer

LAN = {"lan": ("a", "b", "c")}
LINK = {"a--b": ("a", "b")}
GROUP = GroupId.of("example", "a", "a-e0", RoutingProtocol.OSPF)
SETTINGS = Settings(
    validity_s=1 << 33,
    generation_block=1,
    lifetimes=Lifetimes(group_s=3600),
    reconnect=Reconnect(first_min_s=1000, first_max_s=2000),
)


def rekeyed(network: Network, times: int = 4) -> Network:
    """All are keyed, and a has rekeyed so often since."""
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    for _time in range(times):
        network.command("a", "rekey")
        network.run(network.now + 2)
    return network


def put_back(network: Network, files: dict[str, bytes]) -> None:
    network.power_off("a")
    network.nodes["a"].files = dict(files)
    network.power_on("a")


def heard(network: Network, receiver: str) -> Iterator[tuple[object, bytes]]:
    for _when, kernel in network.nodes[receiver].kernels:
        for sa in kernel.sas:
            if not sa.outbound:
                yield (sa.speaker, sa.destination, sa.protocol, sa.generation), sa.keymat


def newest(network: Network, router: str) -> int:
    kernel = network.nodes[router].kernel
    assert kernel is not None
    return max(sa.generation for sa in kernel.sas if sa.outbound)


@pytest.mark.parametrize("issuer", ["lks", "dks"])
@pytest.mark.parametrize("left", ["none", "of before"])
def test_neighbours_hear_it_again_at_once_and_none_takes_a_number_again(left: str, issuer: str) -> None:
    network = Network(LAN, settings=with_issuer(SETTINGS, issuer), dks=True)
    lost = dict(network.nodes["a"].files)
    rekeyed(network, 1)
    before = lost if left == "none" else dict(network.nodes["a"].files)
    for _time in range(4):
        network.command("a", "rekey")
        network.run(network.now + 2)
    reached = newest(network, "a")
    put_back(network, before)
    assert network.run(network.now + 3, network.all_keyed)
    assert newest(network, "a") > reached
    assert network.seen("behind", "a", generation=reached)
    for name in "bc":
        keys: dict[object, set[bytes]] = defaultdict(set)
        for number, keymat in heard(network, name):
            keys[number].add(keymat)
        assert all(len(each) == 1 for each in keys.values())


def test_a_neighbour_that_had_not_come_so_far_takes_no_number_twice_either() -> None:
    network = Network(LAN, settings=SETTINGS)
    lost = dict(network.nodes["a"].files)
    rekeyed(network, 1)
    network.power_off("c")
    for _time in range(4):
        network.command("a", "rekey")
        network.run(network.now + 2)
    network.power_on("c")
    put_back(network, lost)
    assert network.run(network.now + 5, network.all_keyed)
    network.run(network.now + 60)
    assert network.all_keyed()
    assert not network.seen("error", "b", what="registration") and not network.seen("error", "c", what="registration")


def test_who_shows_what_it_has_from_us_causes_nothing() -> None:
    network = rekeyed(Network(LAN, settings=SETTINGS))
    before = newest(network, "a")
    network.power_off("b")
    network.power_on("b")
    network.wires.cut = {"lan"}
    network.run(network.now + 60)
    network.wires.cut = set()
    assert network.run(network.now + 10, network.all_keyed)
    assert newest(network, "a") == before and not network.seen("behind")


def test_a_member_that_reboots_amid_a_rekey_is_given_the_keys_that_it_had_already() -> None:
    network = Network(LAN, settings=SETTINGS)
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    network.wires.tap = lambda passing: None if {passing.sender, passing.receiver} == {"a", "c"} else passing
    network.command("a", "rekey")
    network.run(network.now + 2)  # b has the next generation, c has not, so a goes on with the older one
    before, now = network.seen("member", "a", peer="b")[-1], network.now
    network.power_off("b")
    network.power_on("b")
    network.run(now + 2)
    again = network.seen("member", "a", peer="b")[-1]
    assert again.fields["generation"] > before.fields["generation"]
    assert not network.seen("error", "b", what="registration") and not network.seen("behind")
    assert network.run(now + 40, lambda: network.hears("b", "a"))


def test_one_whose_policy_was_put_back_too_asks_the_dks_for_it_at_once() -> None:
    network = Network(LAN, settings=SETTINGS.model_copy(update={"reconnect": Reconnect()}), dks=True)
    before = dict(network.nodes["a"].files)
    network.power_on_all()
    network.run(700)
    settings = network.domain.settings
    network.publish(
        edit.with_settings(network.domain, settings.model_copy(update={"lifetimes": Lifetimes(group_s=1800)}))
    )
    network.run(network.now + 10)
    network.command("a", "rekey")
    network.run(network.now + 5)
    put_back(network, before)
    assert network.run(network.now + 10, network.all_keyed)
    found = network.seen("error", "a", what="policy")
    assert len(found) == 1 and "version 2 was in force" in found[0].fields["detail"]


def test_where_the_dks_is_away_and_nobody_carries_its_document_it_is_asked_once_and_not_at_every_refusal() -> None:
    network = Network(LAN, settings=SETTINGS.model_copy(update={"reconnect": Reconnect(), "carries": 0}), dks=True)
    before = dict(network.nodes["a"].files)
    network.power_on_all()
    network.run(700)
    settings = network.domain.settings
    network.publish(
        edit.with_settings(network.domain, settings.model_copy(update={"lifetimes": Lifetimes(group_s=1800)}))
    )
    network.run(network.now + 10)
    network.command("a", "rekey")
    network.run(network.now + 5)
    network.power_off("dks")
    put_back(network, before)
    network.run(network.now + 600)
    assert len(network.seen("error", "a", what="policy")) == 1
    assert network.seen("dks_contact", "a", ok=False)
    assert not network.hears("b", "a")
    network.power_on("dks")
    assert network.run(network.now + 2000, network.all_keyed)


def shows(monkeypatch: pytest.MonkeyPatch, signed: bytes) -> None:
    """Have every member show this."""
    monkeypatch.setattr("agents.lks.retained.Retained.signed_state", lambda _self, _group: signed)


@pytest.mark.parametrize(
    ("signed", "says"),
    [
        (b"rubbish", "CBOR"),
        (sign_group_state(GroupState.of(GROUP, 1, 99, "lks"), key("b")), "signature"),
        (sign_group_state(GroupState.of(GROUP, 1, 99, "dks"), key("b")), "signature"),
        (sign_group_state(GroupState.of(replace(GROUP, interface="a-e1"), 1, 99, "lks"), key("a")), "a-e1"),
        (sign_group_state(GroupState.of(GROUP, 1, MOST_AHEAD + 9, "dks"), key("dks")), "too far ahead"),
    ],
)
def test_only_its_own_or_the_dks_s_word_on_this_very_group_counts(
    monkeypatch: pytest.MonkeyPatch, signed: bytes, says: str
) -> None:
    shows(monkeypatch, signed)
    network = Network(LINK, settings=SETTINGS, protocols=(RoutingProtocol.OSPF,))
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    assert newest(network, "a") < 99 and not network.seen("behind")
    assert says in network.seen("error", "a", what="shown state")[0].fields["detail"]


def test_the_dks_cannot_use_up_a_router_s_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.dks.store.GenerationLedger.next", lambda *_words, **_more: MOST_AHEAD * 4)
    network = rekeyed(Network(LINK, settings=with_issuer(SETTINGS, "dks"), dks=True), 0)
    network.run(2500)  # it has been at the DKS
    assert network.seen("dks_contact", "a", ok=True)
    network.command("a", "rekey")
    network.run(network.now + 10)
    assert network.all_keyed() and newest(network, "a") < MOST_AHEAD
    assert "too far ahead" in network.seen("error", "a", what="order")[-1].fields["detail"]


def test_what_a_neighbour_said_lives_through_a_power_failure() -> None:
    network = rekeyed(Network(LINK, settings=SETTINGS))
    before = {group: signed_state(network, group) for group in (GROUP, replace(GROUP, protocol="pim"))}
    assert all(before.values())
    network.power_off("a")
    network.power_off("b")
    network.power_on("b")
    network.run(network.now + 1)
    assert {group: signed_state(network, group) for group in before} == before


def signed_state(network: Network, group: GroupId) -> bytes | None:
    context = network.lks("b")._context
    assert isinstance(context, Context)
    return context.retained.signed_state(group)


def without(*routers: str) -> Callable[[Passing], Passing | None]:
    """Nothing passes to or from these."""
    return lambda passing: None if {passing.sender, passing.receiver} & set(routers) else passing


def test_who_had_the_number_that_is_sent_with_is_given_the_next_one_also_while_that_waits() -> None:
    """What the model of generations found (docs/models.md)."""
    network = Network(LAN, settings=SETTINGS, protocols=(RoutingProtocol.OSPF,))
    lost = dict(network.nodes["a"].files)
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    network.wires.tap = without("b")
    network.command("a", "rekey")
    network.run(network.now + 40)  # c has had the second number, b only the first one
    assert {sa.generation for sa in inbound(network, "c")} == {3}
    put_back(network, lost)
    network.wires.tap = without("c")
    assert network.run(network.now + 10, lambda: network.hears("b", "a"))
    assert newest(network, "a") == 3  # which b is given, as it has not had it
    network.wires.tap = without("b")
    network.run(network.now + 5)
    assert newest(network, "a") > 3
    assert len({sa.keymat for _when, kernel in network.nodes["c"].kernels for sa in kernel.sas if third(sa)}) == 1


def third(sa: GroupSa) -> bool:
    """Whether this is a's key number 3 to all, as a neighbour hears it."""
    to_all = str(sa.destination) == "224.0.0.5" and str(sa.speaker) == "10.0.0.1"
    return not sa.outbound and sa.generation == 3 and to_all


def inbound(network: Network, router: str) -> list[GroupSa]:
    kernel = network.nodes[router].kernel
    assert kernel is not None
    return [sa for sa in kernel.sas if not sa.outbound and str(sa.speaker) == "10.0.0.1"]


def test_a_number_is_given_to_nobody_again_under_a_newer_policy_either() -> None:
    network = Network(LINK, settings=SETTINGS, dks=True)
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    settings = network.domain.settings
    network.publish(
        edit.with_settings(network.domain, settings.model_copy(update={"lifetimes": Lifetimes(group_s=1800)}))
    )
    put_back(network, {DOCUMENT: network.signed["a"]})  # commissioned anew
    assert network.run(network.now + 5, network.all_keyed)
    keys: dict[object, set[bytes]] = defaultdict(set)
    for number, keymat in heard(network, "b"):
        keys[number].add(keymat)
    assert keys and all(len(each) == 1 for each in keys.values())
