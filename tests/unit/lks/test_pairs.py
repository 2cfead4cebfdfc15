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
    net = Network({"one": ("a", "b"), "two": ("b", "c")}, settings=settings, seed=seed, loss=loss)
    net.domain = edit.set_point(net.domain, "c", IPv4Address(POINT))
    net.domain = edit.set_sources(net.domain, "a", [IPv4Address(FIRST_HOP), IPv4Address(SECOND)])
    net.domain = edit.set_sources(net.domain, "b", [IPv4Address("10.99.0.2")])
    net.compile()
    for name in net.routers:
        net.nodes[name].files[DOCUMENT] = net.signed[name]
    net.wires.routed = {POINT: "c", FIRST_HOP: "a", SECOND: "a", "10.99.0.2": "b"}
    return net


def start(net: Network) -> None:
    for name in net.routers:
        net.power_on(name)


def unicast(net: Network, name: str) -> Unicast:
    kernel = net.nodes[name].kernel
    assert kernel is not None
    return kernel.unicast


def sends(net: Network, name: str, to: str) -> PairSa | None:
    """The SA that the kernel of this router takes for unicast PIM to this address."""
    return next(
        (each for each in unicast(net, name).sas if each.outbound and each.active and str(each.destination) == to),
        None,
    )


def heard(net: Network, sender: str, to: str, receiver: str) -> bool:
    """Whether a packet to this address is protected by keys that the receiver has for it."""
    sa = sends(net, sender, to)
    return sa is not None and any(
        not each.outbound and (each.spi, each.keymat, each.destination) == (sa.spi, sa.keymat, sa.destination)
        for each in unicast(net, receiver).sas
    )


def all_heard(net: Network) -> bool:
    return all(
        heard(net, *each)
        for each in (
            ("a", POINT, "c"),
            ("b", POINT, "c"),
            ("c", FIRST_HOP, "a"),
            ("c", SECOND, "a"),
            ("c", "10.99.0.2", "b"),
        )
    )


def routes_changed(net: Network, name: str) -> None:
    core = net.nodes[name].core
    assert isinstance(core, LksCore)
    core.routes(net.now)
    net.after(net.nodes[name])


def keyed(net: Network) -> Callable[[], bool]:
    return lambda: all(net.nodes[name].kernel is not None for name in net.routers) and all_heard(net)


def test_first_hop_routers_and_the_point_key_each_other_both_ways_for_every_address() -> None:
    net = network()
    start(net)
    assert net.run(10, keyed(net))
    net.run(net.now + 0.1)
    assert {(each.node, each.fields["peer"]) for each in net.seen("pair", state="keyed")} == {
        ("a", "c"), ("b", "c"), ("c", "a"), ("c", "b")
    }  # fmt: skip
    assert [each["keyed"] for each in net.command("c", "status")["pairs"]] == [True, True]


def test_no_two_sas_have_one_key() -> None:
    net = network()
    start(net)
    assert net.run(10, keyed(net))
    outbound = [each.keymat for name in net.routers for each in unicast(net, name).sas if each.outbound]
    assert len(set(outbound)) == len(outbound) == 6


def test_before_there_is_a_route_nothing_is_given_up() -> None:
    net = network()
    net.wires.cut.add("routed")
    start(net)
    net.run(120)
    assert sends(net, "a", POINT) is None
    net.wires.cut.clear()
    assert net.run(net.now + 12, keyed(net))


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_route_that_comes_is_used_at_once_and_not_at_the_next_retransmission(seed: int) -> None:
    net = network(seed)
    net.wires.cut.add("routed")
    start(net)
    net.run(20 + seed / 3)
    net.wires.cut.clear()
    for name in ("a", "b", "c"):
        routes_changed(net, name)
    assert net.run(net.now + 0.4, keyed(net)), net.now


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_route_that_comes_to_two_routers_that_both_try_makes_one_ike_sa_and_no_pair_is_keyed_twice(seed: int) -> None:
    net = network(seed)
    net.wires.cut.add("routed")
    start(net)
    net.run(20 + seed / 3)
    net.wires.cut.clear()
    for name in ("a", "b", "c") if seed % 2 else ():  # or each retransmits when its own time comes
        routes_changed(net, name)
    assert net.run(net.now + 3, keyed(net))
    first = {name: [sa.keymat for sa in unicast(net, name).sas] for name in net.routers}
    net.run(net.now + 12)
    assert all_heard(net)
    assert {name: [sa.keymat for sa in unicast(net, name).sas] for name in net.routers} == first
    begun = [each for each in net.seen("ike", state="established") if not each.fields["interface"]]
    assert len(begun) == 4, "one IKE SA for each of two pairs, told at both ends"


def test_routes_that_change_all_the_time_do_not_make_a_router_send_all_the_time() -> None:
    net = network()
    net.wires.cut.add("routed")
    start(net)
    net.run(20)
    sent = net.nodes["a"].sent
    for _ in range(100):
        routes_changed(net, "a")
        net.run(net.now + 0.01)
    assert net.nodes["a"].sent - sent <= 20


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_keys_are_replaced_in_time_and_the_receiver_always_has_what_is_sent_with(seed: int) -> None:
    net = network(seed, loss=0.1, settings=SHORT)
    start(net)
    assert net.run(30, keyed(net))
    used = set()
    while net.now < 300:
        net.run(net.now + 0.25)
        sa = sends(net, "a", POINT)
        if sa is not None:
            used.add(sa.keymat)
            assert heard(net, "a", POINT, "c") and heard(net, "c", FIRST_HOP, "a"), net.now
    assert len(used) >= 6
    for name in net.routers:
        assert len(unicast(net, name).sas) <= 16, "SAs are left behind"


@pytest.mark.parametrize("seed", [14, 23])
def test_nobody_sends_with_a_replaced_key_s_successor_before_the_peer_has_the_answer_that_brings_it(seed: int) -> None:
    """Of four datagrams one is lost: an answer may come only after several repetitions of its request."""
    net = network(seed, loss=0.25, settings=SHORT)
    start(net)
    assert net.run(60, keyed(net))
    while net.now < 170:
        net.run(net.now + 0.25)
        for sender, to, receiver in (("a", POINT, "c"), ("c", FIRST_HOP, "a")):
            assert sends(net, sender, to) is None or heard(net, sender, to, receiver), net.now


def test_a_router_that_was_without_power_has_new_keys_soon_and_old_ones_go() -> None:
    net = network()
    start(net)
    assert net.run(10, keyed(net))
    before = sends(net, "a", POINT)
    net.power_off("a")
    net.run(net.now + 5)
    net.power_on("a")
    assert net.run(net.now + 5, keyed(net))
    after = sends(net, "a", POINT)
    assert before is not None and after is not None and before.keymat != after.keymat
    net.run(net.now + 30)
    assert before.keymat not in {each.keymat for each in unicast(net, "c").sas}


def test_a_point_that_was_without_power_is_keyed_again_with_all() -> None:
    net = network()
    start(net)
    assert net.run(10, keyed(net))
    net.power_off("c")
    net.run(net.now + 3)
    net.power_on("c")
    assert net.run(net.now + 8, keyed(net))
    net.run(net.now + 60)
    assert all_heard(net)
    status = {name: net.nodes[name].core for name in net.routers}
    assert all(status.values())
    for name in net.routers:
        assert len([each for each in unicast(net, name).sas if each.outbound]) <= 3 * (1 + (name == "c"))


def test_a_peer_that_falls_silent_loses_its_sas() -> None:
    net = network()
    start(net)
    assert net.run(10, keyed(net))
    net.power_off("c")
    net.run(net.now + 60)
    assert unicast(net, "a").sas == ()
    assert unicast(net, "a").peers, "and its policies stay: nothing is sent in clear"


def test_a_router_that_the_policy_takes_away_is_heard_no_more() -> None:
    net = network()
    start(net)
    assert net.run(10, keyed(net))
    core = net.nodes["c"].core
    document = net.documents["c"]
    fewer = document.model_copy(update={"pairs": tuple(each for each in document.pairs if each.router != "a")})
    core._pairs.adopt(fewer, net.now)  # type: ignore[union-attr]
    net.after(net.nodes["c"])
    index = next(each.index for each in document.pairs if each.router == "a")
    assert index not in {each.index for each in unicast(net, "c").sas}
    assert index not in {each.index for each in unicast(net, "c").peers}
    net.run(net.now + 1)
    assert sends(net, "a", POINT) is None, "it was told"
    assert heard(net, "b", POINT, "c")


@pytest.mark.parametrize("handed_to", ["b", "c"])
def test_a_removed_router_s_pair_is_gone_within_the_bound(handed_to: str) -> None:
    net = network()
    start(net)
    assert net.run(10, keyed(net))
    index = next(each.index for each in net.documents["c"].pairs if each.router == "a")
    (at_point,) = pair_bound(net.domain, "a", Case.NEIGHBORS)
    assert at_point.router == "c" and at_point.total_s is not None

    def gone() -> bool:
        return index not in {each.index for each in unicast(net, "c").sas}

    assert not gone()
    net.hand_over(handed_to, net.remove("a"))
    assert net.run(net.now + at_point.total_s, gone)
    assert heard(net, "b", POINT, "c")


def test_a_change_of_mode_touches_no_key() -> None:
    net = network()
    start(net)
    assert net.run(10, keyed(net))
    before = unicast(net, "a").sas
    core, document = net.nodes["a"].core, net.documents["a"]
    eased = tuple(each.model_copy(update={"mode": Mode.PERMISSIVE}) for each in document.pairs)
    core._pairs.adopt(document.model_copy(update={"pairs": eased}), net.now)  # type: ignore[union-attr]
    net.after(net.nodes["a"])
    assert unicast(net, "a").sas == before
    assert [each.mode for each in unicast(net, "a").peers] == [Mode.PERMISSIVE]


def test_ike_from_an_address_that_is_no_pairs_is_not_answered() -> None:
    net = network()
    stray = "10.99.7.7"

    def from_elsewhere(passing: Passing) -> Passing:
        peer = passing.datagram.peer
        if passing.receiver == "c" and peer.ip == FIRST_HOP:
            return replace(passing, datagram=replace(passing.datagram, peer=replace(peer, ip=stray)))
        return passing

    net.wires.tap = from_elsewhere
    start(net)
    net.run(20)
    assert heard(net, "b", POINT, "c") and sends(net, "a", POINT) is None


def test_a_router_with_the_address_of_another_but_its_own_key_is_refused() -> None:
    net = network()
    net.power_on("b")
    net.power_on("c")
    assert net.run(10, lambda: heard(net, "b", POINT, "c"))
    entry = next(each for each in net.documents["b"].pairs)
    pretending = net.nodes["b"].core._pairs  # type: ignore[union-attr]
    forged = entry.model_copy(update={"local": (IPv4Address(FIRST_HOP),)})
    net.wires.routed[FIRST_HOP] = "b"
    pretending.adopt(net.documents["b"].model_copy(update={"pairs": (forged,)}), net.now)
    net.after(net.nodes["b"])
    net.run(net.now + 20)
    assert sends(net, "b", POINT) is None
    assert any(each.fields["state"] == "authentication_failed" for each in net.seen("ike", node="b"))


def test_forged_handshakes_from_a_pairs_address_do_not_keep_the_pair_out() -> None:
    net = network()
    flood: list[Passing] = []

    def copy(passing: Passing) -> Passing:
        if passing.receiver == "c" and passing.datagram.peer.ip == FIRST_HOP and len(flood) < 200:
            flood.append(passing)
            for number in range(5):
                data = bytearray(passing.datagram.data)
                data[0:8] = bytes([number + 1]) * 8
                net.at(net.now, lambda data=bytes(data): net.deliver("c", replace(passing.datagram, data=data)))  # type: ignore[misc]
        return passing

    net.wires.tap = copy
    start(net)
    assert net.run(15, keyed(net))


def test_a_pair_ten_seconds_apart_is_keyed_and_rekeyed_without_a_gap() -> None:
    net = network(settings=Settings(validity_s=1 << 33, lifetimes=Lifetimes(group_s=600, ike_s=3600)))
    net.wires.delay_s, net.wires.jitter = 10.0, 0.2
    start(net)
    assert net.run(4 * 24, keyed(net))
    end = net.now + 3 * 600
    while net.now < end:
        net.run(net.now + 4)
        assert all_heard(net)


def test_no_unsealed_datagram_changes_a_pair_amid_its_handshake_or_later() -> None:
    net = network()
    passed: list[Passing] = []
    net.wires.tap = lambda passing: (passed.append(passing), passing)[1]
    start(net)
    chosen = random.Random(1)
    judged = 0
    for _ in range(60):
        net.run(net.now + 0.05)
        pairs = [each for each in passed if not each.datagram.peer.interface or each.datagram.hop_limit == 60]
        if not pairs:
            continue
        target = chosen.choice(pairs[-6:])
        ends = {target.sender, target.receiver}
        seen = [each.datagram.data for each in pairs if {each.sender, each.receiver} == ends][-24:]
        made = [forged(seen, chosen.randrange) for _ in range(12)]
        made = [each for each in made if each not in seen and claims_to_be_sealed(each)]
        core = net.nodes[target.receiver].core
        assert stir(core, [replace(target.datagram, data=each) for each in made], net.now) is None
        judged += 1
    assert judged > 20 and net.run(net.now + 60, keyed(net))
