"""Signed policy documents travel from neighbour to neighbour; what a liar, a damaged disk, or an administrator at one
router makes of that."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest

from agents.gikev2 import notifies
from agents.gikev2.courier import ASKS_AT_ONCE, ASKS_IN_A_SECOND, Courier
from agents.gikev2.notifies import Held, WantedDocument
from agents.ikev2 import Payload, Request
from agents.ikev2.registry import ExchangeType
from agents.lks import carrying
from agents.lks.carrying import CARRIED, MOST_HANDED, Carrying
from agents.policy import cbor, edit
from agents.policy.document import Lifetimes, Reconnect, sign_document
from agents.policy.domain import Settings
from agents.policy.keys import spki
from agents.runtime.control import CommandRefused
from agents.runtime.storage import seal
from testbed.simulation.network import Network, ring
from testbed.simulation.parties import POLICY_SERVER, key
from testbed.simulation.wires import Passing

SOON = Settings(validity_s=1 << 33, reconnect=Reconnect(first_min_s=1, first_max_s=5, max_s=10), carries=16)
LATE = SOON.model_copy(update={"reconnect": Reconnect(first_min_s=5000, first_max_s=9000)})
FAR = ("r4", "r5", "r6")
"""Of a ring of six, cut at r3--r4 and r6--r1."""


def keyed(network: Network) -> Network:
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    network.run(network.now + 10)
    return network


def versions(network: Network, *names: str) -> list[int]:
    return [network.lks(name).document.version for name in names or network.routers]


def change(network: Network, lifetime_s: int = 1800) -> None:
    """Every router has a new document."""
    settings = network.domain.settings.model_copy(update={"lifetimes": Lifetimes(group_s=lifetime_s)})
    network.publish(edit.with_settings(network.domain, settings))


def accept(network: Network, at: str, *of: str) -> dict[str, Any]:
    texts = [base64.b64encode(network.signed[each]).decode() for each in of]
    return dict(network.command(at, "accept", *texts))


def say(network: Network, liar: str, to: str, *payloads: Payload) -> None:
    """Have one router put this into an INFORMATIONAL request to its neighbour."""
    core = network.lks(liar)
    (link,) = (each for each in core.link.values() if each.policy.neighbor(to) is not None)
    (sa, *_more) = link._endpoint.sas(link.party_of(to))
    link._endpoint.request(sa, ExchangeType.INFORMATIONAL, Request(payloads), network.now)
    core.tick(network.now)
    network.after(network.nodes[liar])


def without_dks(network: Network, *names: str) -> None:
    """Nothing passes between these routers and the DKS."""

    def tap(passing: Passing) -> Passing | None:
        ends = {passing.sender, passing.receiver}
        return None if "dks" in ends and ends & set(names) else passing

    network.wires.tap = tap


# -- from neighbour to neighbour --------------------------------------------------------------------------------------


def test_routers_that_were_cut_off_have_their_newer_documents_from_neighbours_as_soon_as_the_cut_heals() -> None:
    network = keyed(Network(ring(6), settings=SOON, dks=True))
    network.run(30)
    without_dks(network, *FAR)
    network.wires.cut |= {"r3--r4", "r6--r1"}
    change(network)
    network.run(network.now + 120)
    assert versions(network) == [2, 2, 2, 1, 1, 1]
    healed = network.now
    network.wires.cut.clear()  # the way to the DKS stays cut for them
    assert network.run(healed + 3, lambda: versions(network) == [2] * 6)
    assert network.run(network.now + 5, network.all_keyed)
    assert not network.seen("error", what="policy") and not network.seen("error", what="documents")


def test_documents_pass_through_loss_and_disorder() -> None:
    network = Network(ring(6), settings=LATE, loss=0.2, duplicate=0.1, overtake=0.1, seed=3)
    network.power_on_all()
    assert network.run(60, network.all_keyed)
    change(network)
    accept(network, "r1", *network.routers)
    assert network.run(network.now + 60, lambda: versions(network) == [2] * 6)


def test_a_router_whose_folder_was_put_back_has_its_later_policy_from_a_neighbour_without_the_dks() -> None:
    network = keyed(Network(ring(4), settings=LATE))
    before = dict(network.nodes["r1"].files)
    change(network)
    accept(network, "r2", *network.routers)
    assert network.run(network.now + 5, lambda: versions(network) == [2] * 4)
    network.run(network.now + 3)
    network.power_off("r1")
    network.nodes["r1"].files = dict(before)
    network.power_on("r1")
    assert versions(network, "r1") == [1]
    assert network.run(network.now + 5, lambda: versions(network) == [2] * 4)


def test_one_whose_network_has_older_agents_goes_on_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not know the notifications passes over them, and answers nothing to them."""
    genuine = Courier.answer

    def older(self: Courier, payloads: Sequence[Payload], peer: str, now: float) -> list[Payload]:
        return [] if self._interface.startswith("r2") else genuine(self, payloads, peer, now)

    monkeypatch.setattr(Courier, "answer", older)
    network = keyed(Network(ring(4), settings=LATE))
    change(network)
    accept(network, "r1", *network.routers)
    network.run(network.now + 30)
    assert versions(network) == [2, 1, 2, 2]  # r3 has it the other way round
    assert not network.seen("fault") and not network.seen("error", what="documents")


# -- what the DKS gives -----------------------------------------------------------------------------------------------


def test_the_dks_gives_others_documents_only_where_it_cannot_bring_them_and_only_to_those_who_carry_them() -> None:
    network = keyed(Network(ring(6), settings=SOON, dks=True))
    network.run(30)
    assert len(network.command("dks", "status")["connected"]) == 6
    began = network.now
    change(network)
    network.run(began + 30)
    assert versions(network) == [2] * 6
    assert not [each for each in network.seen("carried", "dks") if each.t >= began]
    without_dks(network, "r5")
    change(network, 900)
    network.run(network.now + 3)  # before r5's neighbours can have given it: they do not have it either
    network.run(network.now + 60)
    given = [(each.fields["router"], each.fields["version"]) for each in network.seen("carried", "dks")]
    assert given and set(given) == {("r5", 3)} and len(given) <= 5
    assert versions(network) == [3] * 6


def test_the_dks_refuses_a_document_that_a_router_is_not_to_carry() -> None:
    network = keyed(Network(ring(6), settings=SOON.model_copy(update={"carries": 2}), dks=True))
    network.run(30)
    found = {
        name: network.nodes["dks"].core._carried.given(WantedDocument(name, 0), "r1", network.now)  # type: ignore[union-attr]
        for name in network.routers
    }
    assert [name for name, given in found.items() if given is not None] == ["r2", "r6"]


def test_a_crowd_that_wants_documents_of_the_dks_is_told_to_wait() -> None:
    network = Network(ring(4), settings=SOON, dks=True)
    network.pace = (1.0, 1)
    network.power_on_all()
    carried = network.nodes["dks"].core._carried  # type: ignore[union-attr]
    waits = [carried.given(WantedDocument("r2", 0), "r1", network.now) for _time in range(3)]
    assert isinstance(waits[0], bytes) and waits[1:] == [1, 2]


# -- what an administrator brings -------------------------------------------------------------------------------------


def chord(network: Network) -> None:
    """r1 and r4 of a ring of six become neighbours over a link that was there already."""
    network.publish(edit.allow(network.domain, ("r1", "r1-e2"), ("r4", "r4-e2")))


def with_a_link_more() -> Network:
    network = Network({**ring(6), "r1--r4": ("r1", "r4")}, settings=LATE.model_copy(update={"carries": 2}))
    network.domain = edit.deny(network.domain, ("r1", "r1-e2"), ("r4", "r4-e2"))
    network.compile()
    for name in network.routers:
        network.nodes[name].files["policy.cose"] = network.signed[name]
    return keyed(network)


def test_documents_that_one_router_was_handed_reach_those_that_they_concern_also_through_others() -> None:
    network = with_a_link_more()
    assert not network.hears("r1", "r4")
    chord(network)
    began = network.now
    concerned = [name for name, each in network.documents.items() if each.version == network.version]
    said = accept(network, "r2", *concerned)
    assert [each["router"] for each in said["accepted"]] == concerned
    assert network.run(began + 2, lambda: network.hears("r1", "r4") and network.hears("r4", "r1"))
    assert versions(network, *concerned) == [network.version] * len(concerned)
    assert network.run(network.now + 2, network.all_keyed)


def test_a_router_that_came_back_with_a_new_key_is_heard_again_once_its_neighbours_documents_were_handed_over() -> None:
    network = keyed(Network(ring(4), settings=LATE))
    network.power_off("r3")
    fresh = key("another machine")
    network.keys = lambda name: fresh if name == "r3" else key(name)
    entry = network.domain.routers["r3"].model_copy(update={"key": spki(fresh)})
    network.publish(network.domain.model_copy(update={"routers": {**network.domain.routers, "r3": entry}}))
    network.nodes["r3"].files = {"policy.cose": network.signed["r3"]}
    network.power_on("r3")
    network.run(network.now + 3)
    assert not network.hears("r2", "r3")
    accept(network, "r1", *network.routers)
    assert network.run(network.now + 5, network.all_keyed)


def test_the_old_key_of_a_replaced_router_is_heard_by_nobody_who_has_the_new_documents_without_any_list() -> None:
    network = keyed(Network(ring(4), settings=LATE))
    before = dict(network.nodes["r3"].files)
    network.power_off("r3")
    entry = network.domain.routers["r3"].model_copy(update={"key": spki(key("another machine"))})
    network.publish(network.domain.model_copy(update={"routers": {**network.domain.routers, "r3": entry}}))
    accept(network, "r1", *(name for name in network.routers if name != "r3"))
    network.run(network.now + 5)
    network.nodes["r3"].files = before
    network.power_on("r3")  # the stolen machine, with its own key and document
    network.run(network.now + 60)
    assert not any(network.hears(name, "r3") or network.hears("r3", name) for name in ("r2", "r4"))


def test_all_documents_are_taken_or_none_and_an_older_one_is_said() -> None:
    network = keyed(Network(ring(4), settings=LATE))
    old = network.signed["r2"]
    change(network)
    altered = bytearray(network.signed["r3"])
    altered[-1] ^= 1
    good = base64.b64encode(network.signed["r1"]).decode()
    for wrong in (bytes(altered), b"", sign_document(network.documents["r3"], key("r3"))):
        with pytest.raises(CommandRefused, match="no document was accepted"):
            network.command("r1", "accept", good, base64.b64encode(wrong).decode())
    with pytest.raises(CommandRefused, match="not base64"):
        network.command("r1", "accept", good, "*")
    with pytest.raises(CommandRefused, match="allowed: 1 to 64"):
        network.command("r1", "accept", *[good] * 65)
    assert versions(network, "r1") == [1]
    accept(network, "r1", "r1", "r2")
    said = network.command("r1", "accept", base64.b64encode(old).decode(), good)
    assert said["accepted"] == [] and [each["router"] for each in said["not_newer"]] == ["r2", "r1"]


def test_a_router_passes_on_so_many_documents_that_it_does_not_carry_and_the_newest_of_them_stay() -> None:
    network = keyed(Network({"a--b": ("a", "b")}, settings=LATE.model_copy(update={"carries": 0})))
    holder = network.lks("a").carrying
    some = network.documents["b"]
    for number in range(MOST_HANDED + 20):
        document = some.model_copy(update={"router": f"x{number:03}", "version": 100 + number % (MOST_HANDED + 10)})
        asked = Held(document.router, document.version, handed=True)
        if holder.wants(asked):
            holder.offer(sign_document(document, POLICY_SERVER), asked, "b", network.now)
    kept = holder.status()
    assert len(kept) == MOST_HANDED and min(kept.values()) == 110
    assert len(holder.held("b")) == MOST_HANDED + 1 < notifies.MAX_HELD
    assert not holder.wants(Held("y", 99, handed=True)) and not holder.wants(Held("y", 200))


# -- liars, and what the disk has -------------------------------------------------------------------------------------


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, WantedDocument]]:
    """Whom each router asked for which document, in order."""
    found: list[tuple[str, str, WantedDocument]] = []
    genuine = Carrying.given

    def given(self: Carrying, wanted: WantedDocument, peer: str, now: float) -> bytes | int | None:
        found.append((peer, self._context.document.router, wanted))
        return genuine(self, wanted, peer, now)

    monkeypatch.setattr(Carrying, "given", given)
    return found


def test_what_a_neighbour_shows_costs_no_more_than_some_questions_and_one_visit_to_the_dks(
    questions: list[tuple[str, str, WantedDocument]],
) -> None:
    network = keyed(Network(ring(4), settings=LATE, dks=True))
    questions.clear()
    began, top = network.now, notifies.MAX_VERSION
    for number in range(50):
        shown = [Held("r1", top - 200 + number), *(Held(f"x{each}", top, handed=True) for each in range(150))]
        say(network, "r2", "r1", notifies.documents_held(shown, whole=bool(number % 2)))
        network.run(network.now + 0.05)
    network.run(network.now + 10)
    asked = sum((of, at) == ("r1", "r2") for of, at, _wanted in questions)
    assert ASKS_AT_ONCE < asked <= ASKS_AT_ONCE + ASKS_IN_A_SECOND * (network.now - began) + 1
    planned = [each.fields["at_s"] for each in network.seen("dks_scheduled", "r1") if each.t >= began]
    assert len(planned) == 1 and planned[0] <= began + 20 + LATE.reconnect.first_min_s
    assert network.all_keyed() and versions(network, "r1") == [1]


def test_who_asks_without_end_is_told_to_wait_and_others_are_not() -> None:
    network = keyed(Network(ring(4), settings=LATE))
    holder = network.lks("r1").carrying
    answers = [holder.given(WantedDocument("r3", 0), "r2", network.now) for _time in range(carrying.GIVEN_AT_ONCE + 5)]
    assert [each for each in answers if isinstance(each, int)] == [1] * 5
    assert isinstance(holder.given(WantedDocument("r3", 0), "r4", network.now), bytes)


@pytest.mark.parametrize("wrong", ["signed by another", "altered", "another router's", "no document", "far ahead"])
def test_a_wrong_document_is_neither_kept_nor_acted_on_nor_passed_on(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = keyed(Network(ring(4), settings=LATE))
    before = [network.lks(name).carrying.status() for name in network.routers]
    genuine = Carrying.given

    def given(self: Carrying, wanted: WantedDocument, peer: str, now: float) -> bytes | int | None:
        if self._context.document.router != "r2":
            return genuine(self, wanted, peer, now)
        document = network.documents[wanted.router].model_copy(update={"version": 9})
        match wrong:
            case "signed by another":
                return sign_document(document, key("r2"))
            case "another router's":
                return sign_document(document.model_copy(update={"router": "other"}), POLICY_SERVER)
            case "no document":
                return b"\xd2\x84"
            case "far ahead":
                return sign_document(document.model_copy(update={"version": 1 << 40}), POLICY_SERVER)
            case _:
                signed = bytearray(sign_document(document, POLICY_SERVER))
                signed[len(signed) // 2] ^= 1
                return bytes(signed)

    monkeypatch.setattr(Carrying, "given", given)
    for peer in ("r1", "r3"):
        say(network, "r2", peer, notifies.documents_held([Held("r1", 9), Held("r3", 9), Held("r4", 9)], whole=False))
    network.run(network.now + 10)
    assert versions(network) == [1] * 4
    assert [network.lks(name).carrying.status() for name in network.routers] == before
    assert network.seen("error", "r1", what="policy") and network.seen("error", "r1", what="documents")
    assert network.all_keyed()


def test_documents_outlive_a_reboot_and_a_damaged_record_of_them_keeps_no_router_from_starting() -> None:
    network = keyed(Network(ring(4), settings=LATE))
    kept = network.lks("r1").carrying.status()
    assert kept == {"r2": 1, "r3": 1, "r4": 1}
    network.power_off("r1")
    network.power_on("r1")
    assert network.lks("r1").carrying.status() == kept
    record = network.nodes["r1"].files[CARRIED]
    forged = network.documents["r2"].model_copy(update={"version": 50})
    entries = [[sign_document(forged, key("r2")), False], [network.signed["r3"], False]]
    hostile = seal("router-keys/lks-carried/1", cbor.encode(entries))
    spoiled = (record[:-1], record[:40], b"", seal("router-keys/lks-carried/1", cbor.encode([[1, 2]])), hostile)
    for number, each in enumerate(spoiled):
        network.power_off("r1")
        network.nodes["r1"].files[CARRIED] = each
        network.power_on("r1")
        assert network.lks("r1").carrying.status() == ({"r3": 1} if each is hostile else {})
        network.run(network.now + 0.01)
        assert len(network.seen("error", "r1", what="documents")) == number + 1
        assert network.run(network.now + 10, network.all_keyed)
        assert network.run(network.now + 5, lambda: network.lks("r1").carrying.status() == kept)


def test_what_a_revoked_administrator_or_a_removed_router_s_document_says_is_passed_on_no_more() -> None:
    network = keyed(Network(ring(4), settings=LATE))
    network.hand_over("r1", network.remove("r3"))
    network.run(network.now + 5)
    assert [name for name in ("r1", "r2", "r4") if "r3" in network.lks(name).carrying.status()] == []
    with pytest.raises(CommandRefused, match="the key of r3 is revoked"):
        network.command("r1", "accept", base64.b64encode(network.published["r3", 1]).decode())
