"""A mark belongs to the key that made it: a new key begins anew, and one that counts no more binds nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.ipsec.protection import RoutingProtocol
from agents.lks import retained, speaker
from agents.lks.retained import COUNTERS, DOCUMENT, MOST_FLOORS, Retained
from agents.policy import cbor, edit
from agents.policy.delegation import Delegation, join, sign_delegation
from agents.policy.document import sign_document
from agents.policy.errors import PolicyError
from agents.policy.group import (
    MAX_COUNTER,
    MOST_AHEAD,
    MOST_VERSIONS_AHEAD,
    GroupState,
    Issuer,
    SignedState,
    sign_group_state,
)
from agents.policy.keys import spki
from agents.policy.names import GroupId
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.revocation import Revoked, key_hash, make_list, sign_list
from agents.runtime.effects import Persist
from agents.runtime.storage import CorruptRecord, seal, unseal
from testbed.simulation.network import Network
from testbed.simulation.parties import POLICY_SERVER, key

GROUP = GroupId.of("example", "b", "b-e0", RoutingProtocol.OSPF)
OLD, NEW, DKS = key("b"), key("b, new machine"), key("dks")


class Now:
    """Whose marks count: the speaker's key and the DKS's."""

    def __init__(self, speaks: Ed25519PrivateKey = OLD, version: int = 1) -> None:
        self.speaks, self.version, self.gone = speaks, version, set[bytes]()

    def signers(self, _group: GroupId) -> dict[Issuer, bytes]:
        return {"lks": spki(self.speaks), "dks": spki(DKS)}

    def newest_version(self) -> int:
        return self.version

    def revoked(self, hashed: bytes) -> bool:
        return hashed in self.gone


def state(v: int, g: int, issuer: Issuer = "lks") -> GroupState:
    return GroupState.of(GROUP, v, g, issuer)


def signed(said: GroupState, by: Ed25519PrivateKey) -> bytes:
    return sign_group_state(said, by)


def refused(kept: Retained, said: GroupState) -> bool:
    try:
        kept.check(said)
    except PolicyError:
        return True
    return False


def test_a_floor_is_its_key_s_and_the_dks_s_goes_on() -> None:
    now, written = Now(), list[Persist]()
    kept = Retained(None, written.append, now)
    kept.took(SignedState(state(1, 9), signed(state(1, 9), OLD)))
    kept.took(SignedState(state(1, 4, "dks"), signed(state(1, 4, "dks"), DKS)))
    assert kept.floor(GROUP) == (1, 9) and refused(kept, state(1, 8)) and not refused(kept, state(1, 9))
    now.speaks = NEW
    again = Retained(written[-1].data, written.append, now)
    for each in (kept, again):
        assert each.floor(GROUP) == (1, 4) and each.signed_state(GROUP) == signed(state(1, 4, "dks"), DKS)
        assert not refused(each, state(1, 8)) and refused(each, state(1, 3))


@pytest.mark.parametrize("lie", [(MAX_COUNTER, 1), (2 + MOST_VERSIONS_AHEAD, 1), (1, MAX_COUNTER), (1, 6 + MOST_AHEAD)])
def test_nobody_is_believed_who_is_further_ahead_than_anybody_could_be(lie: tuple[int, int]) -> None:
    kept = Retained(None, lambda _effect: None, Now())
    kept.took(SignedState(state(1, 5), b"x"))
    assert refused(kept, state(*lie))
    assert not refused(kept, state(1 + MOST_VERSIONS_AHEAD, 5 + MOST_AHEAD))


def test_a_speaker_that_acts_on_a_version_no_more_is_heard_for_its_later_generations() -> None:
    """An administrator whose key was revoked since had signed it; here it never came."""
    now = Now(version=7)
    kept = Retained(None, lambda _effect: None, now)
    kept.took(SignedState(state(900, 5), b"x"))
    assert refused(kept, state(8, 5)) and refused(kept, state(8, 4))
    assert not refused(kept, state(8, 6))
    kept.took(SignedState(state(8, 6), b"y"))
    assert kept.floor(GROUP) == (8, 6)
    now.version = 8
    assert refused(kept, state(7, 7)), "of a version that we have had, none that is older counts"


def test_no_generation_that_was_had_is_taken_again_however_versions_and_issuers_change() -> None:
    """A speaker's LKS and the DKS make its keys in turns under versions that this router has not seen, and then the
    speaker's folder is put back (soak, seed 5104)."""
    now, written = Now(version=1), list[Persist]()
    kept = Retained(None, written.append, now)
    for said, by in ((state(1, 15), OLD), (state(3, 16, "dks"), DKS), (state(4, 21), OLD), (state(1, 23), OLD)):
        assert not refused(kept, said)
        kept.took(SignedState(said, signed(said, by)))
    again = Retained(written[-1].data, written.append, now)
    for each in (kept, again):
        for own in (1, 3, 4):
            now.version = own
            assert refused(each, state(1, 17)) and refused(each, state(3, 18, "dks")) and refused(each, state(4, 21))
            assert each.floor(GROUP)[1] == 23 and each.signed_state(GROUP) == signed(state(1, 23), OLD)
            assert not refused(each, state(4, 25))


def test_a_later_version_makes_no_generation_new() -> None:
    kept = Retained(None, lambda _effect: None, Now(version=9))
    kept.took(SignedState(state(6, 11), b"x"))
    assert refused(kept, state(7, 10)) and not refused(kept, state(7, 11)) and refused(kept, state(5, 12))


def test_a_version_that_the_own_policy_has_come_to_is_kept_though_another_key_s_word_was_beyond_it() -> None:
    kept = Retained(None, lambda _effect: None, Now(version=3))
    for said, by in ((state(3, 16, "dks"), DKS), (state(4, 21), OLD)):
        kept.took(SignedState(said, signed(said, by)))
    assert refused(kept, state(1, 23)) and refused(kept, state(2, 22, "dks"))
    assert not refused(kept, state(3, 23)) and not refused(kept, state(3, 22, "dks"))


def older_record(version: int, floors: dict[str, list[object]]) -> bytes:
    payload = {"reserved": 64, "version": version, "revocation": 3, "floors": floors}
    return seal("router-keys/lks-counters/2", cbor.encode(payload))


def test_a_record_of_the_format_before_is_read_and_its_marks_are_of_whoever_signed_them() -> None:
    record = older_record(5, {str(GROUP): [1, 9, signed(state(1, 9), OLD)]})
    written: list[Persist] = []
    now = Now()
    kept = Retained(record, written.append, now)
    assert kept.generation_floor == 64 and kept.floor(GROUP) == (1, 9)
    with pytest.raises(PolicyError, match="version 5 was in force"):
        kept.acts_on(4)
    kept.acts_on(5)
    kept.acts_on(6)
    now.speaks = NEW
    again = Retained(written[-1].data, written.append, now)
    assert again.version == 6 and again.floor(GROUP) == (0, 0)
    with pytest.raises(PolicyError, match="list has version 2"):
        again.acts_on_revocation(2)


def test_a_record_that_does_not_say_whose_it_is_is_read_and_says_so_from_then_on() -> None:
    before = {"reserved": 40, "versions": {"": 1}, "revocation": 0, "floors": {}}
    written: list[Persist] = []
    kept = Retained(seal(retained._KIND, cbor.encode(before)), written.append, owner="example/r1")  # type: ignore[dict-item]
    kept.reserve(41, 16)
    assert Retained(written[-1].data, written.append, owner="example/r1").generation_floor == 56
    with pytest.raises(CorruptRecord, match="are of example/r1, not of example/r2"):
        Retained(written[-1].data, written.append, owner="example/r2")


@pytest.mark.parametrize(
    "damage",
    [
        {"versions": {"x": 1}}, {"versions": {"": -1}}, {"versions": []}, {"floors": {"a": [["", 1, 1]]}},
        {"floors": {"a": [["zz", 1, 1, b""]]}}, {"floors": {"a": [1]}}, {"floors": []}, {"reserved": 1 << 63},
        {"router": 1},
    ],
)  # fmt: skip
def test_a_record_of_another_form_is_none(damage: dict[str, object]) -> None:
    good: dict[str, object] = {"reserved": 1, "versions": {"": 1}, "revocation": 0, "floors": {}}
    Retained(seal(retained._KIND, cbor.encode(good)), lambda _effect: None)
    with pytest.raises(CorruptRecord):
        Retained(seal(retained._KIND, cbor.encode({**good, **damage})), lambda _effect: None)


def test_marks_of_keys_that_count_no_more_are_the_first_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retained, "MOST_FLOORS", 20)
    assert MOST_FLOORS > 256 * 4 * 31, "more than the greatest document has groups of neighbours"
    now = Now()
    kept = Retained(None, lambda _effect: None, now)
    kept.took(SignedState(state(1, 9), b"x"))
    for number in range(30):
        now.speaks = key(f"machine {number}")
        kept.took(SignedState(state(1, number + 1), b"x"))
    assert len(kept._floors) == 20 and kept.floor(GROUP) == (1, 30)


# -- whole routers ----------------------------------------------------------------------------------


@contextmanager
def lying(v: int, g: int) -> Iterator[None]:
    """What b signs of its groups meanwhile."""
    honest = speaker.GroupState.of

    def said(group: GroupId, version: int, generation: int, issuer: Issuer) -> GroupState:
        return honest(group, v, g, issuer) if group.router == "b" else honest(group, version, generation, issuer)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(speaker.GroupState, "of", staticmethod(said))
        yield


@pytest.mark.parametrize("lie", [(1 + MOST_VERSIONS_AHEAD, 1 << 62), (1, MAX_COUNTER)])
def test_a_machine_that_comes_under_the_name_of_one_that_lied_is_heard(lie: tuple[int, int]) -> None:
    names = {"b": OLD}
    network = Network({"a--b": ("a", "b")}, keys=lambda name: names.get(name, key(name)))
    with lying(*lie):
        network.power_on_all()
        assert network.run(5, network.all_keyed)
    network.power_off("b")
    before, places = network.domain.router("b"), list(network.domain.adjacencies)
    names["b"] = NEW
    domain = edit.add_router(edit.remove_router(network.domain, "b"), "b", spki(NEW))
    domain = edit.approve_router(domain, "b", spki(NEW))
    for each in before.interfaces:
        domain = edit.add_interface(
            domain, "b", each.name, each.address, each.address6, each.link, each.protocols, each.mode
        )
    for place in places:
        domain = edit.allow(domain, (place.a.router, place.a.interface), (place.b.router, place.b.interface))
    network.publish(domain)
    assert network.revocation is not None
    network.lks("a").take_document(network.signed["a"], network.now)
    network.hand_over("a", network.revocation)
    network.nodes["b"].files = {DOCUMENT: network.signed["b"], REVOCATION: network.revocation}
    network.power_on("b")
    assert network.run(network.now + 30, network.all_keyed)


def test_a_lie_about_the_version_is_refused_and_said() -> None:
    network = Network({"a--b": ("a", "b")})
    with lying(MAX_COUNTER, 1):
        network.power_on_all()
        assert not network.run(5, lambda: network.hears("a", "b"))
    assert "too far ahead" in network.seen("error", "a", what="registration")[0].fields["detail"]


class Rogue:
    """An administrator of the domain, until the root key says otherwise."""

    def __init__(self) -> None:
        self.key = key("rogue administrator")
        word = Delegation(domain="example", name="rogue", key=spki(self.key), issued_at=0, expires_at=1 << 30)
        self.delegation = sign_delegation(word, POLICY_SERVER)
        entry = Revoked(name="rogue", key=key_hash(spki(self.key)))
        self.list = sign_list(make_list("example", 1, 0, (), [entry]), POLICY_SERVER)

    def document(self, network: Network, version: int) -> bytes:
        anew = network.documents["a"].model_copy(update={"version": version})
        return join(self.delegation, sign_document(anew, self.key))


def give(network: Network, signed: bytes) -> int:
    """Router a's version after the DKS gave it this document."""
    core = network.lks("a")
    core.take_document(signed, network.now)
    core._adopt(network.now)
    network.after(network.nodes["a"])
    return core.document.version


@pytest.mark.parametrize("restarts", [False, True])
def test_a_revoked_administrator_s_last_version_binds_nobody_and_the_router_is_heard_again(restarts: bool) -> None:
    rogue = Rogue()
    network = Network({"a--b": ("a", "b")})
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    assert give(network, rogue.document(network, MAX_COUNTER)) == 1, "no version jumps so far"
    last = 1 + MOST_VERSIONS_AHEAD
    assert give(network, rogue.document(network, last)) == last
    network.lks("a").command(["rekey"], network.now)
    assert network.run(network.now + 10, network.all_keyed)
    for name in ("a", "b"):
        network.hand_over(name, rogue.list)
    if restarts:
        network.power_off("a")
        network.power_on("a")
        assert network.run(network.now + 10, network.all_keyed), "it stays in force until the next one comes"
    assert give(network, rogue.document(network, last + 1)) == last
    anew = sign_document(network.documents["a"].model_copy(update={"version": 1000}), POLICY_SERVER)
    assert give(network, anew) == 1000
    older = sign_document(network.documents["a"].model_copy(update={"version": 999}), POLICY_SERVER)
    assert give(network, older) == 1000, "the root key's own mark stands"
    network.lks("a").command(["rekey"], network.now)
    assert network.run(network.now + 20, network.all_keyed)
    network.power_off("a")
    network.power_on("a")
    assert network.run(network.now + 20, network.all_keyed), "through a reboot of it"
    network.power_off("b")
    network.power_on("b")
    assert network.run(network.now + 20, network.all_keyed), "and of who heard it under that version"
    network.power_off("a")
    network.nodes["a"].files[DOCUMENT] = older
    with pytest.raises(PolicyError, match="version 1000 was in force"):
        network.power_on("a")


def test_the_last_policy_of_those_that_count_is_taken_again_in_place_of_a_revoked_administrator_s() -> None:
    rogue = Rogue()
    network = Network({"a--b": ("a", "b")})
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    last, genuine = 1 + MOST_VERSIONS_AHEAD, network.signed["a"]
    assert give(network, rogue.document(network, last)) == last
    assert give(network, genuine) == last, "it is older than one whose signer counts"
    network.hand_over("a", rogue.list)
    assert give(network, genuine) == 1
    assert network.run(network.now + 10, network.all_keyed)
    network.power_off("a")
    network.power_on("a")
    assert network.lks("a").document.version == 1 and network.run(network.now + 10, network.all_keyed)


def test_counters_of_the_format_before_are_kept_on_by_a_whole_router() -> None:
    network = Network({"a--b": ("a", "b")})
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    network.power_off("a")
    kept = network.nodes["a"].files[COUNTERS]
    owner, reserved, _versions, _list, marks = retained._decode(unseal(retained._KIND, kept))
    floors: dict[str, list[object]] = {name: list(floor) for (name, _key), floor in marks.items()}
    payload = {"reserved": reserved, "version": 1, "revocation": 0, "floors": floors}
    network.nodes["a"].files[COUNTERS] = seal("router-keys/lks-counters/2", cbor.encode(payload))
    network.power_on("a")
    assert network.run(network.now + 10, network.all_keyed)
    first = network.seen("state_loaded", "a")[-1].fields["generation_floor"]
    assert first == reserved and owner == "example/a"
