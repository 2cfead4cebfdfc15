"""Keys from the DKS that the LKS hands out and replaces when there is no DKS: `issuer: dks` with local key servers."""

from __future__ import annotations

from collections import defaultdict

import pytest

from agents.gikev2 import UnusableGroup
from agents.ipsec.protection import RoutingProtocol
from agents.lks.retained import COUNTERS, DOCUMENT
from agents.lks.speaker import Speaker
from agents.policy import edit
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from agents.policy.names import GroupId
from agents.runtime.control import CommandRefused
from testbed.simulation.network import Network, ring
from testbed.simulation.wires import Passing

SOON = Reconnect(first_min_s=1, first_max_s=3, max_s=5)
SHARED = Settings(validity_s=1 << 33, issuer="dks", lifetimes=Lifetimes(group_s=60), reconnect=SOON)
LAN = {"lan": ("a", "b", "c", "d"), "a--e": ("a", "e")}


def shared(segments: object = None, *, settings: Settings = SHARED, loss: float = 0.0, seed: int = 1) -> Network:
    network = Network(segments or ring(4), settings=settings, dks=True, loss=loss, seed=seed)  # type: ignore[arg-type]
    network.power_on_all()
    return network


def sent(network: Network) -> dict[GroupId, int]:
    """The generation that every group is sent with."""
    found = {}
    for name in network.routers:
        for link in network.lks(name).link.values():
            for group, speaker in link.speakers.items():
                assert speaker.sending.active is not None
                found[group] = speaker.sending.active.generation
    return found


def one_key_each(network: Network) -> None:
    """No (group, generation) had two keys in any kernel at any time, and no neighbour had another's pair SA."""
    keys: dict[object, set[bytes]] = defaultdict(set)
    for node in network.nodes.values():
        for _when, kernel in node.kernels:
            for sa in kernel.sas:
                keys[sa.speaker, sa.destination, sa.protocol, sa.generation].add(sa.keymat)
                own = node.interfaces[sa.interface][0]
                mine = sa.outbound or sa.destination.is_multicast or sa.destination.version == 6
                assert mine or str(sa.destination) == own
    assert keys and all(len(each) == 1 for each in keys.values())


def as_the_ledger_says(network: Network) -> bool:
    """Whether the DKS's ledger has of every group the generation that it is sent with."""
    return all(network.ledger.last(group)[1] == generation for group, generation in sent(network).items())


def by_the_dks(network: Network) -> bool:
    return all(generation % 2 == 0 for generation in sent(network).values())


@pytest.mark.parametrize("segments", [ring(4), LAN])
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_rekeys_come_from_the_dks_and_reach_the_neighbours_through_the_lks(segments: object, loss: float) -> None:
    network = shared(segments, loss=loss)
    assert network.run(10, network.all_keyed)
    assert all(generation % 2 for generation in sent(network).values()), "nobody waits for the DKS at the start"
    network.run(130)
    if not loss:
        assert by_the_dks(network) and as_the_ledger_says(network)
    assert network.all_keyed() and network.seen("issued", "dks")
    one_key_each(network)


def test_without_a_dks_the_lks_makes_the_keys_and_afterwards_the_dks_goes_on_from_the_highest() -> None:
    network = shared()
    network.run(70)
    assert by_the_dks(network)
    network.power_off("dks")
    while network.now < 700:
        network.run(network.now + 1)
        assert network.all_keyed()
    alone = sent(network)
    assert all(generation % 2 for generation in alone.values())
    network.power_on("dks")
    assert network.run(720, lambda: len(network.seen("reported", "dks")) >= len(alone))
    assert sent(network).keys() == alone.keys()
    network.run(800)
    assert by_the_dks(network) and as_the_ledger_says(network) and network.all_keyed()
    assert all(generation > alone[group] for group, generation in sent(network).items())
    one_key_each(network)


def test_the_return_of_the_dks_makes_nobody_rekey() -> None:
    network = shared(settings=SHARED.model_copy(update={"lifetimes": Lifetimes(group_s=3600)}))
    network.run(20)
    assert network.all_keyed()
    network.power_off("dks")
    network.run(200)
    before = sent(network)
    network.power_on("dks")
    network.run(300)
    assert sent(network) == before and as_the_ledger_says(network)


def test_after_a_power_failure_neighbours_are_keyed_without_the_dks() -> None:
    network = shared()
    network.run(70)
    used = sent(network)
    for name in network.nodes:
        network.power_off(name)
    network.run(80)
    for name in network.routers:
        network.power_on(name)
    assert network.run(81, network.all_keyed)
    assert all(generation > used[group] and generation % 2 for group, generation in sent(network).items())
    one_key_each(network)


def test_an_answer_that_never_comes_is_not_waited_for() -> None:
    """The number that the DKS gave is lost with it, and is nobody's."""
    network = shared()
    network.run(10)
    network.wires.tap = lambda passing: None if passing.sender == "dks" else passing
    network.run(70)
    assert network.seen("issued", "dks") and network.all_keyed()
    assert all(generation % 2 for generation in sent(network).values())
    network.wires.tap = None
    network.run(200)
    assert by_the_dks(network) and as_the_ledger_says(network) and network.all_keyed()
    one_key_each(network)


def test_what_an_lks_makes_while_the_dks_is_silent_is_reported_when_it_speaks_again() -> None:
    settings = SHARED.model_copy(update={"lifetimes": Lifetimes(group_s=600)})
    network = shared(settings=settings)
    network.run(20)
    network.wires.tap = lambda passing: None if "dks" in (passing.sender, passing.receiver) else passing
    network.command("r1", "rekey")
    network.run(26)
    network.wires.tap = None
    assert network.run(60, lambda: as_the_ledger_says(network))


def test_a_number_that_was_lost_leaves_the_ledger_no_higher_than_what_is_sent_with() -> None:
    settings = SHARED.model_copy(update={"lifetimes": Lifetimes(group_s=600)})
    network = Network({"a--b": ("a", "b")}, settings=settings, dks=True, protocols=(RoutingProtocol.OSPF,))
    network.power_on_all()
    network.run(20)
    network.command("a", "rekey")
    network.run(30)
    (group,) = (group for group in sent(network) if group.router == "a")
    assert sent(network)[group] == 2
    network.wires.tap = lambda passing: None if passing.sender == "dks" else passing
    network.command("a", "rekey")
    network.run(40)
    assert network.ledger.last(group)[1] == 4 and sent(network)[group] == 5
    network.wires.tap = None
    assert network.run(120, lambda: as_the_ledger_says(network))


@pytest.mark.parametrize("step", range(24))
def test_power_that_fails_anywhere_in_a_rekey_gives_no_generation_two_keys(step: int) -> None:
    network = shared()
    network.run(30)
    victim = network.nodes["r1"]
    victim.crash_at = victim.effects + step
    network.command("r1", "rekey")
    network.run(40)
    if victim.core is None:
        network.power_on("r1")
    assert network.run(60, network.all_keyed)
    assert network.run(130, lambda: by_the_dks(network) and as_the_ledger_says(network))
    assert network.all_keyed()
    one_key_each(network)


def test_a_dks_whose_ledger_was_put_back_learns_from_what_it_is_shown() -> None:
    network = shared()
    network.run(200)
    used = sent(network)
    network.ledger._connection.execute("DELETE FROM marks")
    network.ledger._connection.execute("DELETE FROM set_aside")
    network.power_off("dks")
    network.power_on("dks")
    network.run(330)
    assert by_the_dks(network) and all(generation > used[group] for group, generation in sent(network).items())
    one_key_each(network)


@pytest.mark.parametrize("issuer", ["lks", "dks"])
def test_the_dks_orders_a_rekey_and_hears_of_the_new_generation(issuer: str) -> None:
    settings = SHARED.model_copy(update={"issuer": issuer, "lifetimes": Lifetimes(group_s=3600)})
    network = shared(settings=settings)
    network.run(20)
    before = sent(network)
    answer = network.command("dks", "rekey", "r1", "r1-e0")
    assert answer == {"ordered": ["example/r1/r1-e0/ospf", "example/r1/r1-e0/pim"]}
    assert network.run(30, lambda: len(network.seen("rekeyed", "r1", reason="ordered")) == 2 and network.all_keyed())
    network.run(35)
    changed = {group for group, generation in sent(network).items() if generation != before[group]}
    assert {(group.router, group.interface) for group in changed} == {("r1", "r1-e0")}
    assert as_the_ledger_says(network)


def test_an_order_that_cannot_be_carried_out_is_refused_in_words() -> None:
    network = shared()
    network.run(10)
    for words in (["r9"], ["r1", "nowhere"]):
        with pytest.raises(CommandRefused, match=r"r9|nowhere"):
            network.command("dks", "rekey", *words)
    network.power_off("dks")
    network.power_on("dks")
    with pytest.raises(CommandRefused, match="lks rekey"):
        network.command("dks", "rekey", "r1")


def test_without_local_key_servers_the_dks_makes_the_ordered_generation_itself() -> None:
    settings = SHARED.model_copy(update={"local_key_server": False, "lifetimes": Lifetimes(group_s=3600)})
    network = shared(settings=settings)
    assert network.run(10, network.all_keyed)
    network.command("dks", "rekey", "r1")
    assert len(network.seen("rekeyed", "dks", reason="command")) == 4
    network.run(20)
    assert network.all_keyed()


def test_a_policy_that_changes_the_issuer_both_ways_loses_nobody_for_long() -> None:
    network = shared()
    network.run(70)
    for issuer in ("lks", "dks"):
        settings = network.domain.settings.model_copy(update={"issuer": issuer})
        network.publish(network.domain.model_copy(update={"settings": settings}))
        assert network.run(network.now + 15, lambda: len({network.lks(n).document.version for n in ("r1", "r3")}) == 1)
        network.run(network.now + 100)
        assert network.all_keyed() and by_the_dks(network) is (issuer == "dks")
    one_key_each(network)


def test_a_neighbour_without_a_place_in_the_policy_gets_nothing_from_the_dks_either() -> None:
    network = shared(LAN)
    network.run(70)
    network.publish(edit.deny(network.domain, ("a", "a-e1"), ("e", "e-e0")))
    network.run(90)
    assert not network.hears("e", "a") and not network.hears("a", "e")


def test_keys_that_come_unasked_or_under_another_policy_are_refused_and_made_here() -> None:
    network = shared()
    network.run(70)
    speaker: Speaker = next(iter(next(iter(network.lks("r1").link.values())).speakers.values()))
    keys = speaker.sending.active
    assert keys is not None
    before = speaker.generation
    with pytest.raises(UnusableGroup, match="too late"):
        speaker.given(keys, network.now)
    assert speaker.generation == before
    network.command("r1", "rekey")
    with pytest.raises(UnusableGroup, match="too late"):
        speaker.given(keys, network.now)
    assert speaker.generation > before and speaker.generation % 2


def test_a_mark_for_the_generations_of_the_dks_is_on_the_disk_before_they_are_used() -> None:
    network = shared()
    network.run(10)
    seen: list[int] = []

    def look(passing: Passing) -> Passing:
        if passing.sender == "r1" and passing.receiver != "dks":
            core = network.lks("r1")
            highest = max(speaker.generation for link in core.link.values() for speaker in link.speakers.values())
            seen.append(highest)
            assert COUNTERS in network.nodes["r1"].files
        return passing

    network.wires.tap = look
    network.run(70)
    assert seen
    network.wires.tap = None
    network.power_off("r1")
    network.power_on("r1")
    assert min(g for group, g in sent(network).items() if group.router == "r1") > max(seen)


def test_protocols_of_an_interface_have_different_key_servers() -> None:
    network = Network(LAN, settings=SHARED.model_copy(update={"issuer": "lks"}), dks=True)
    network.publish(edit.set_issuer(network.domain, "dks", [RoutingProtocol.PIM]))
    for name in network.routers:
        network.nodes[name].files[DOCUMENT] = network.signed[name]
    network.power_on_all()
    assert network.run(10, network.all_keyed)
    network.run(130)
    assert network.all_keyed()
    assert {group.protocol: generation % 2 for group, generation in sent(network).items()} == {"ospf": 1, "pim": 0}
    assert {str(each.fields["group"]).rsplit("/")[-1] for each in network.seen("issued", "dks")} == {"pim"}
    network.power_off("dks")
    network.run(400)
    assert network.all_keyed() and all(generation % 2 for generation in sent(network).values())
    one_key_each(network)


def test_the_dks_gives_no_keys_of_a_protocol_that_policy_leaves_to_the_lks() -> None:
    network = shared(settings=SHARED.model_copy(update={"issuer": "lks"}))
    assert network.run(10, network.all_keyed)
    network.publish(edit.set_issuer(network.domain, "dks", [RoutingProtocol.PIM]))
    assert network.run(200, lambda: bool(network.seen("issued", "dks")))
    network.publish(edit.set_issuer(network.domain, "lks"))
    network.run(network.now + 20)
    before = len(network.seen("issued", "dks"))
    network.run(network.now + 200)
    assert len(network.seen("issued", "dks")) == before and network.all_keyed()
    one_key_each(network)


def test_after_numbers_that_the_speaker_has_not_seen_the_dks_begins_at_a_place_of_its_own() -> None:
    """They were given to others while the DKS alone made the keys. Its ledger may be an older one, and lack later
    ones of them: the next number is none that another can have had (soak, seed 20330)."""
    network = shared()
    network.run(70)
    assert network.all_keyed() and by_the_dks(network)
    router = network.routers[0]
    group = next(each for each in sent(network) if each.router == router)
    unseen = network.ledger.next(group, 1, key=network.lks(router).document.identity)
    network.command(router, "rekey")
    network.run(network.now + 20)
    after = sent(network)[group]
    assert after % 2 == 0 and after > unseen + (1 << 8) and as_the_ledger_says(network)
    for _time in range(2):
        network.command(router, "rekey")
        network.run(network.now + 20)
    assert after + 4 <= sent(network)[group] < after + 20, "it has seen this one, so the others follow"
    one_key_each(network)
