"""Pairs of routers several hops apart: whole LKSs in the simulation, from the first packet to a removal."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from agents.ipsec.protection import Mode
from agents.ipsec.unicast import PairSa, Unicast
from agents.lks.core import LksCore
from agents.lks.retained import DOCUMENT
from agents.policy import edit
from agents.policy.bound import Case, pair_bound
from agents.policy.document import Lifetimes
from agents.policy.domain import Settings
from testbed.simulation.network import Network
from testbed.simulation.wires import Passing
from testbed.soak.outsider import forged, stir
from testbed.soak.unsealed import claims_to_be_sealed

POINT, FIRST_HOP, SECOND = "10.99.0.3", "10.99.0.1", "10.99.1.1"
SHORT = Settings(validity_s=1 << 33, lifetimes=Lifetimes(group_s=40, ike_s=100, atd_s=2, dtd_s=5))


def network(seed: int = 1, loss: float = 0.0, settings: Settings | None = None) -> Network:
    """a – b – c: c is the rendezvous point, a registers from two addresses, b from one."""
    found = Network({"one": ("a", "b"), "two": ("b", "c")}, settings=settings, seed=seed, loss=loss)
    found.domain = edit.set_point(found.domain, "c", IPv4Address(POINT))
    found.domain = edit.set_sources(found.domain, "a", [IPv4Address(FIRST_HOP), IPv4Address(SECOND)])
    found.domain = edit.set_sources(found.domain, "b", [IPv4Address("10.99.0.2")])
    found.compile()
    for name in found.routers:
        found.nodes[name].files[DOCUMENT] = found.signed[name]
    found.wires.routed = {POINT: "c", FIRST_HOP: "a", SECOND: "a", "10.99.0.2": "b"}
    return found


def start(found: Network) -> None:
    for name in found.routers:
        found.power_on(name)


def unicast(found: Network, name: str) -> Unicast:
    kernel = found.nodes[name].kernel
    assert kernel is not None
    return kernel.unicast


def sends(found: Network, name: str, to: str) -> PairSa | None:
    """The SA that the kernel of this router takes for unicast PIM to this address."""
    return next(
        (each for each in unicast(found, name).sas if each.outbound and each.active and str(each.destination) == to),
        None,
    )


def heard(found: Network, sender: str, to: str, receiver: str) -> bool:
    """Whether a packet to this address is protected by keys that the receiver has for it."""
    sa = sends(found, sender, to)
    return sa is not None and any(
        not each.outbound and (each.spi, each.keymat, each.destination) == (sa.spi, sa.keymat, sa.destination)
        for each in unicast(found, receiver).sas
    )


def all_heard(found: Network) -> bool:
    return all(
        heard(found, *each)
        for each in (
            ("a", POINT, "c"),
            ("b", POINT, "c"),
            ("c", FIRST_HOP, "a"),
            ("c", SECOND, "a"),
            ("c", "10.99.0.2", "b"),
        )
    )


def routes_changed(found: Network, name: str) -> None:
    core = found.nodes[name].core
    assert isinstance(core, LksCore)
    core.routes(found.now)
    found.after(found.nodes[name])


def keyed(found: Network) -> Callable[[], bool]:
    return lambda: all(found.nodes[name].kernel is not None for name in found.routers) and all_heard(found)


def test_first_hop_routers_and_the_point_key_each_other_both_ways_for_every_address() -> None:
    found = network()
    start(found)
    assert found.run(10, keyed(found))
    found.run(found.now + 0.1)
    assert {(each.node, each.fields["peer"]) for each in found.seen("pair", state="keyed")} == {
        ("a", "c"), ("b", "c"), ("c", "a"), ("c", "b")
    }  # fmt: skip
    assert [each["keyed"] for each in found.command("c", "status")["pairs"]] == [True, True]


def test_no_two_sas_have_one_key() -> None:
    found = network()
    start(found)
    assert found.run(10, keyed(found))
    outbound = [each.keymat for name in found.routers for each in unicast(found, name).sas if each.outbound]
    assert len(set(outbound)) == len(outbound) == 6


def test_before_there_is_a_route_nothing_is_given_up() -> None:
    found = network()
    found.wires.cut.add("routed")
    start(found)
    found.run(120)
    assert sends(found, "a", POINT) is None
    found.wires.cut.clear()
    assert found.run(found.now + 12, keyed(found))


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_route_that_comes_is_used_at_once_and_not_at_the_next_retransmission(seed: int) -> None:
    found = network(seed)
    found.wires.cut.add("routed")
    start(found)
    found.run(20 + seed / 3)
    found.wires.cut.clear()
    for name in ("a", "b", "c"):
        routes_changed(found, name)
    assert found.run(found.now + 0.4, keyed(found)), found.now


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_route_that_comes_to_two_routers_that_both_try_makes_one_ike_sa_and_no_pair_is_keyed_twice(seed: int) -> None:
    found = network(seed)
    found.wires.cut.add("routed")
    start(found)
    found.run(20 + seed / 3)
    found.wires.cut.clear()
    for name in ("a", "b", "c") if seed % 2 else ():  # or each retransmits when its own time comes
        routes_changed(found, name)
    assert found.run(found.now + 3, keyed(found))
    first = {name: [sa.keymat for sa in unicast(found, name).sas] for name in found.routers}
    found.run(found.now + 12)
    assert all_heard(found)
    assert {name: [sa.keymat for sa in unicast(found, name).sas] for name in found.routers} == first
    begun = [each for each in found.seen("ike", state="established") if not each.fields["interface"]]
    assert len(begun) == 4, "one IKE SA for each of two pairs, told at both ends"


def test_routes_that_change_all_the_time_do_not_make_a_router_send_all_the_time() -> None:
    found = network()
    found.wires.cut.add("routed")
    start(found)
    found.run(20)
    sent = found.nodes["a"].sent
    for _ in range(100):
        routes_changed(found, "a")
        found.run(found.now + 0.01)
    assert found.nodes["a"].sent - sent <= 20


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_keys_are_replaced_in_time_and_the_receiver_always_has_what_is_sent_with(seed: int) -> None:
    found = network(seed, loss=0.1, settings=SHORT)
    start(found)
    assert found.run(30, keyed(found))
    used = set()
    while found.now < 300:
        found.run(found.now + 0.25)
        sa = sends(found, "a", POINT)
        if sa is not None:
            used.add(sa.keymat)
            assert heard(found, "a", POINT, "c") and heard(found, "c", FIRST_HOP, "a"), found.now
    assert len(used) >= 6
    for name in found.routers:
        assert len(unicast(found, name).sas) <= 16, "SAs are left behind"


@pytest.mark.parametrize("seed", [14, 23])
def test_nobody_sends_with_a_replaced_key_s_successor_before_the_peer_has_the_answer_that_brings_it(seed: int) -> None:
    """Of four datagrams one is lost: an answer may come only after several repetitions of its request."""
    found = network(seed, loss=0.25, settings=SHORT)
    start(found)
    assert found.run(60, keyed(found))
    while found.now < 170:
        found.run(found.now + 0.25)
        for sender, to, receiver in (("a", POINT, "c"), ("c", FIRST_HOP, "a")):
            assert sends(found, sender, to) is None or heard(found, sender, to, receiver), found.now


def test_a_router_that_was_without_power_has_new_keys_soon_and_old_ones_go() -> None:
    found = network()
    start(found)
    assert found.run(10, keyed(found))
    before = sends(found, "a", POINT)
    found.power_off("a")
    found.run(found.now + 5)
    found.power_on("a")
    assert found.run(found.now + 5, keyed(found))
    after = sends(found, "a", POINT)
    assert before is not None and after is not None and before.keymat != after.keymat
    found.run(found.now + 30)
    assert before.keymat not in {each.keymat for each in unicast(found, "c").sas}


def test_a_point_that_was_without_power_is_keyed_again_with_all() -> None:
    found = network()
    start(found)
    assert found.run(10, keyed(found))
    found.power_off("c")
    found.run(found.now + 3)
    found.power_on("c")
    assert found.run(found.now + 8, keyed(found))
    found.run(found.now + 60)
    assert all_heard(found)
    status = {name: found.nodes[name].core for name in found.routers}
    assert all(status.values())
    for name in found.routers:
        assert len([each for each in unicast(found, name).sas if each.outbound]) <= 3 * (1 + (name == "c"))


def test_a_peer_that_falls_silent_loses_its_sas() -> None:
    found = network()
    start(found)
    assert found.run(10, keyed(found))
    found.power_off("c")
    found.run(found.now + 60)
    assert unicast(found, "a").sas == ()
    assert unicast(found, "a").peers, "and its policies stay: nothing is sent in clear"


def test_a_router_that_the_policy_takes_away_is_heard_no_more() -> None:
    found = network()
    start(found)
    assert found.run(10, keyed(found))
    core = found.nodes["c"].core
    document = found.documents["c"]
    fewer = document.model_copy(update={"pairs": tuple(each for each in document.pairs if each.router != "a")})
    core._pairs.adopt(fewer, found.now)  # type: ignore[union-attr]
    found.after(found.nodes["c"])
    index = next(each.index for each in document.pairs if each.router == "a")
    assert index not in {each.index for each in unicast(found, "c").sas}
    assert index not in {each.index for each in unicast(found, "c").peers}
    found.run(found.now + 1)
    assert sends(found, "a", POINT) is None, "it was told"
    assert heard(found, "b", POINT, "c")


@pytest.mark.parametrize("handed_to", ["b", "c"])
def test_a_removed_router_s_pair_is_gone_within_the_bound(handed_to: str) -> None:
    found = network()
    start(found)
    assert found.run(10, keyed(found))
    index = next(each.index for each in found.documents["c"].pairs if each.router == "a")
    (at_point,) = pair_bound(found.domain, "a", Case.NEIGHBORS)
    assert at_point.router == "c" and at_point.total_s is not None

    def gone() -> bool:
        return index not in {each.index for each in unicast(found, "c").sas}

    assert not gone()
    found.hand_over(handed_to, found.remove("a"))
    assert found.run(found.now + at_point.total_s, gone)
    assert heard(found, "b", POINT, "c")


def test_a_change_of_mode_touches_no_key() -> None:
    found = network()
    start(found)
    assert found.run(10, keyed(found))
    before = unicast(found, "a").sas
    core, document = found.nodes["a"].core, found.documents["a"]
    eased = tuple(each.model_copy(update={"mode": Mode.PERMISSIVE}) for each in document.pairs)
    core._pairs.adopt(document.model_copy(update={"pairs": eased}), found.now)  # type: ignore[union-attr]
    found.after(found.nodes["a"])
    assert unicast(found, "a").sas == before
    assert [each.mode for each in unicast(found, "a").peers] == [Mode.PERMISSIVE]


def test_ike_from_an_address_that_is_no_pairs_is_not_answered() -> None:
    found = network()
    stray = "10.99.7.7"

    def from_elsewhere(passing: Passing) -> Passing:
        peer = passing.datagram.peer
        if passing.receiver == "c" and peer.ip == FIRST_HOP:
            return replace(passing, datagram=replace(passing.datagram, peer=replace(peer, ip=stray)))
        return passing

    found.wires.tap = from_elsewhere
    start(found)
    found.run(20)
    assert heard(found, "b", POINT, "c") and sends(found, "a", POINT) is None


def test_a_router_with_the_address_of_another_but_its_own_key_is_refused() -> None:
    found = network()
    found.power_on("b")
    found.power_on("c")
    assert found.run(10, lambda: heard(found, "b", POINT, "c"))
    entry = next(each for each in found.documents["b"].pairs)
    pretending = found.nodes["b"].core._pairs  # type: ignore[union-attr]
    forged = entry.model_copy(update={"local": (IPv4Address(FIRST_HOP),)})
    found.wires.routed[FIRST_HOP] = "b"
    pretending.adopt(found.documents["b"].model_copy(update={"pairs": (forged,)}), found.now)
    found.after(found.nodes["b"])
    found.run(found.now + 20)
    assert sends(found, "b", POINT) is None
    assert any(each.fields["state"] == "authentication_failed" for each in found.seen("ike", node="b"))


def test_forged_handshakes_from_a_pairs_address_do_not_keep_the_pair_out() -> None:
    found = network()
    flood: list[Passing] = []

    def copy(passing: Passing) -> Passing:
        if passing.receiver == "c" and passing.datagram.peer.ip == FIRST_HOP and len(flood) < 200:
            flood.append(passing)
            for number in range(5):
                data = bytearray(passing.datagram.data)
                data[0:8] = bytes([number + 1]) * 8
                found.at(found.now, lambda data=bytes(data): found.deliver("c", replace(passing.datagram, data=data)))  # type: ignore[misc]
        return passing

    found.wires.tap = copy
    start(found)
    assert found.run(15, keyed(found))


def test_a_pair_ten_seconds_apart_is_keyed_and_rekeyed_without_a_gap() -> None:
    found = network(settings=Settings(validity_s=1 << 33, lifetimes=Lifetimes(group_s=600, ike_s=3600)))
    found.wires.delay_s, found.wires.jitter = 10.0, 0.2
    start(found)
    assert found.run(4 * 24, keyed(found))
    end = found.now + 3 * 600
    while found.now < end:
        found.run(found.now + 4)
        assert all_heard(found)


def test_no_unsealed_datagram_changes_a_pair_amid_its_handshake_or_later() -> None:
    found = network()
    passed: list[Passing] = []
    found.wires.tap = lambda passing: (passed.append(passing), passing)[1]
    start(found)
    chosen = random.Random(1)
    judged = 0
    for _ in range(60):
        found.run(found.now + 0.05)
        pairs = [each for each in passed if not each.datagram.peer.interface or each.datagram.hop_limit == 60]
        if not pairs:
            continue
        target = chosen.choice(pairs[-6:])
        ends = {target.sender, target.receiver}
        seen = [each.datagram.data for each in pairs if {each.sender, each.receiver} == ends][-24:]
        made = [forged(seen, chosen.randrange) for _ in range(12)]
        made = [each for each in made if each not in seen and claims_to_be_sealed(each)]
        core = found.nodes[target.receiver].core
        assert stir(core, [replace(target.datagram, data=each) for each in made], found.now) is None
        judged += 1
    assert judged > 20 and found.run(found.now + 60, keyed(found))
