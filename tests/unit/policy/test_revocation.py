"""Signed revocation lists, how the Policy Server's store makes them, and what is not taken for one."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.policy import cbor, cose, edit, revocation
from agents.policy.cli import main
from agents.policy.document import sign_document, verify_document
from agents.policy.errors import PolicyError
from agents.policy.keys import public_pem, spki
from agents.policy.problems import problems
from agents.policy.revocation import (
    FILE,
    LABEL,
    MAX_OCTETS,
    Revocations,
    Revoked,
    RevokedRouter,
    key_hash,
    make_list,
    shortened,
    sign_list,
    verify_list,
)
from agents.policy.store import PolicyStore
from testbed.simulation.network import Network
from testbed.simulation.parties import POLICY_SERVER, key

ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def entry(samples: ModuleType, name: str) -> Revoked:
    return Revoked(name=name, key=key_hash(spki(samples.private_key(name))))


def signed(samples: ModuleType, version: int, *names: str, domain: str = "example") -> bytes:
    return sign_list(make_list(domain, version, 1000, [entry(samples, name) for name in names]), samples.SERVER)


def test_a_signed_list_comes_back_as_it_was_and_names_the_revoked_keys(samples: ModuleType) -> None:
    found = verify_list(signed(samples, 2, "r1", "r2"), samples.SERVER.public_key(), domain="example")
    assert found.version == 2 and {each.name for each in found.routers} == {"r1", "r2"}


def test_another_key_domain_or_kind_of_object_is_no_list(samples: ModuleType) -> None:
    data, key = signed(samples, 1, "r1"), samples.SERVER.public_key()
    with pytest.raises(PolicyError, match="signature"):
        verify_list(data, samples.private_key("r1").public_key(), domain="example")
    with pytest.raises(PolicyError, match="domain"):
        verify_list(data, key, domain="other")
    with pytest.raises(PolicyError, match="not a signed"):
        verify_list(sign_document(samples.document(), samples.SERVER), key, domain="example")


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": True},
        {"version": "1"},
        {"version": 1 << 63},
        {"routers": [{"name": "r1", "key": bytes(31)}]},
        {"routers": [{"name": "r1", "key": bytes(32)}, {"name": "r2", "key": bytes(32)}]},
        {"routers": [{"name": "b", "key": b"b" * 32}, {"name": "a", "key": b"a" * 32}]},
        {"routers": [{"name": "a/b", "key": bytes(32)}]},
        {"more": 1},
    ],
)
def test_a_list_with_a_field_out_of_bounds_is_refused_though_it_is_signed(samples: ModuleType, change: object) -> None:
    value = {"domain": "example", "version": 1, "issued_at": 0, "routers": [], "administrators": []}
    assert isinstance(change, dict)
    data = cose.sign(LABEL, cbor.encode({**value, **change}), samples.SERVER)
    with pytest.raises(PolicyError):
        verify_list(data, samples.SERVER.public_key(), domain="example")


@ANY
@given(data=st.binary(max_size=300))
def test_octets_of_any_kind_are_refused_without_another_error(samples: ModuleType, data: bytes) -> None:
    with pytest.raises(PolicyError):
        verify_list(data, samples.SERVER.public_key(), domain="example")


@ANY
@given(payload=st.recursive(st.integers() | st.binary() | st.text() | st.none(), lambda s: st.lists(s, max_size=4)))
def test_a_signed_payload_of_any_form_is_refused_without_another_error(samples: ModuleType, payload: object) -> None:
    try:
        data = cose.sign(LABEL, cbor.encode({"domain": "example", "version": 1, "routers": payload}), samples.SERVER)
    except PolicyError:
        return
    with pytest.raises(PolicyError):
        verify_list(data, samples.SERVER.public_key(), domain="example")


@ANY
@given(place=st.integers(0, 200), bit=st.integers(0, 7))
def test_a_list_with_one_bit_changed_is_refused(samples: ModuleType, place: int, bit: int) -> None:
    data = bytearray(signed(samples, 1, "r1", "r2"))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(PolicyError):
        verify_list(bytes(data), samples.SERVER.public_key(), domain="example")


def test_the_longest_list_fits_and_one_entry_more_is_refused(samples: ModuleType) -> None:
    full = [RevokedRouter(name="r" * 63, key=number.to_bytes(32, "big"), until=number + 1) for number in range(600)]
    kept, expired_before = shortened(full, full[:64], 10_000)
    data = sign_list(make_list("d" * 63, 1, 0, kept, full[:64], expired_before), samples.SERVER)
    assert MAX_OCTETS - 1024 < len(data) <= MAX_OCTETS
    assert len(verify_list(data, samples.SERVER.public_key(), domain="d" * 63).routers) == len(kept)
    with pytest.raises(PolicyError, match=str(MAX_OCTETS)):
        sign_list(make_list("d" * 63, 1, 0, full, full[:64]), samples.SERVER)


# -- ten thousand removals ------------------------------------------------------------------------

DAY = 86_400


def test_ten_thousand_removals_in_a_domain_s_life_find_room_and_none_goes_that_a_document_may_name() -> None:
    """34 in a month, documents valid for 90 days: whoever went was named by no document that expires later."""
    kept: tuple[RevokedRouter, ...] = ()
    began = 0
    for month in range(300):
        now = month * 30 * DAY
        fresh = tuple(
            RevokedRouter(
                name=f"router-{month:03}-{each:02}",
                key=hashlib.sha256(b"%d/%d" % (month, each)).digest(),
                until=now + 90 * DAY,
            )
            for each in range(34)
        )
        kept, expired_before = shortened((*kept, *fresh), (), now)
        began = max(began, expired_before)
        assert {each.key for each in fresh} <= {each.key for each in kept} and began <= now
        assert all(each.until > began for each in kept)
    assert 700 < len(kept) < 1200
    assert began > 20 * 365 * DAY


def test_where_no_document_has_expired_one_more_is_refused_with_the_numbers() -> None:
    entries = [RevokedRouter(name=f"r{number}", key=number.to_bytes(32, "big"), until=5000) for number in range(2000)]
    with pytest.raises(PolicyError, match=r"2000 revoked keys .* valid for 1000 s more"):
        shortened(entries, (), 4000)


def test_a_list_that_names_all_is_as_it_was_before_there_were_others(samples: ModuleType) -> None:
    payload = cose.verify(LABEL, signed(samples, 1, "r1"), samples.SERVER.public_key())
    value = cbor.decode(payload)
    assert isinstance(value, dict) and "expired_before" not in value
    again = cose.sign(LABEL, cbor.encode({**value, "expired_before": 0}), samples.SERVER)
    with pytest.raises(PolicyError, match="not in its canonical form"):
        verify_list(again, samples.SERVER.public_key(), domain="example")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists have room for some ten entries."""
    monkeypatch.setattr(revocation, "MAX_OCTETS", 1024)


@pytest.mark.usefixtures("short")
def test_a_store_goes_on_removing_routers_and_what_it_forgets_never_counts_again(tmp_path: Path) -> None:
    base = Network({"a--b": ("a", "b")}).domain
    domain = base.model_copy(update={"settings": base.settings.model_copy(update={"validity_s": 90 * DAY})})
    store = PolicyStore.create(tmp_path / "store", domain, POLICY_SERVER)
    store.commit("admin", "begin", 1)
    first = key("machine 0")
    for number in range(40):
        at = (1 + number * 10) * DAY
        added = edit.add_router(store.draft(), "guest", spki(key(f"machine {number}")), approved=True)
        store.edit(added)
        store.commit("admin", "a guest", at)
        store.edit(edit.remove_router(store.draft(), "guest"))
        store.commit("admin", "it goes", at + 1)
        lists = store.revocations()
        documents = [verify_document(each, store.public_key, domain="example") for each in store.documents().values()]
        assert all(each.expires_at > lists[0].expired_before for each in documents), "nobody in force is left alone"
    assert len(lists) == 40 and len(lists[0].routers) < 15 and lists[0].expired_before > 0
    store.edit(edit.add_router(store.draft(), "guest", spki(first), approved=True))
    with pytest.raises(PolicyError, match="guest has a revoked key"):
        store.commit("admin", "the first one again", 500 * DAY)
    store.edit(store.rollback(2))
    with pytest.raises(PolicyError, match="guest has a revoked key"):
        store.commit("admin", "back to when it was there", 500 * DAY)
    assert store.verify() == []


@pytest.mark.usefixtures("short")
def test_removals_that_no_list_has_room_for_are_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    base = Network({"a--b": ("a", "b")}).domain
    store = PolicyStore.create(tmp_path / "store", base, POLICY_SERVER)
    gone = tuple(RevokedRouter(name=f"r{number}", key=number.to_bytes(32, "big")) for number in range(30))
    store.commit("admin", "begin", 1)
    store.edit(store.draft().model_copy(update={"revoked_routers": gone}))
    with pytest.raises(PolicyError, match="30 revoked keys do not fit"):
        store.commit("admin", "thirty at once", 2)
    assert store.version == 1 and store.revocation() is None


def test_a_router_with_a_document_older_than_the_list_begins_hears_nobody_until_the_next_one() -> None:
    """It was off while the key of its neighbour was revoked, and forgotten."""
    network = Network({"a--b": ("a", "b")})
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    expires_at = network.documents["a"].expires_at
    for began, heard in ((expires_at - 1, True), (expires_at, False)):
        version = 1 + (began == expires_at)
        network.hand_over("a", sign_list(make_list("example", version, 0, (), (), began), POLICY_SERVER))
        network.run(network.now + 10)
        assert network.hears("a", "b") is heard
    assert network.command("a", "status")["revoked"] is True
    assert "expired before the revocation list begins" in network.seen("error", "a", what="policy")[-1].fields["detail"]
    network.power_off("a")
    network.power_on("a")
    network.run(network.now + 10)
    assert not network.hears("a", "b"), "through a reboot too"
    for name in ("a", "b"):  # who heard of the list is alone as well
        anew = network.documents[name].model_copy(update={"version": 2, "expires_at": expires_at + 1})
        network.lks(name).take_document(sign_document(anew, POLICY_SERVER), network.now)
        network.lks(name)._adopt(network.now)
        network.after(network.nodes[name])
    assert network.run(network.now + 20, network.all_keyed)


def test_a_dks_with_a_document_older_than_the_list_begins_admits_nobody_under_it() -> None:
    network = Network({"a--b": ("a", "b")})
    documents = network.held()
    assert documents.of("a") is not None
    began = network.documents["a"].expires_at
    documents.revocations.take(sign_list(make_list("example", 1, 0, (), (), began), POLICY_SERVER))
    assert documents.of("a") is None and documents.signed("a") is None and len(documents.revoked()) == 2


def test_a_holder_takes_newer_lists_only_and_notices_two_of_one_version(samples: ModuleType) -> None:
    held = Revocations("example", samples.SERVER.public_key())
    assert held.version == 0 and not held.revokes(spki(samples.private_key("r1")))
    assert held.take(signed(samples, 2, "r1")) is not None
    assert held.take(signed(samples, 1, "r2")) is None and held.take(signed(samples, 2, "r1")) is None
    assert held.version == 2 and held.revokes(spki(samples.private_key("r1")))
    with pytest.raises(PolicyError, match="two revocation lists of version 2"):
        held.take(signed(samples, 2))
    assert held.revokes(spki(samples.private_key("r1")))


def test_a_document_loses_its_revoked_neighbours_and_a_revoked_routers_loses_all(samples: ModuleType) -> None:
    held = Revocations("example", samples.SERVER.public_key())
    document = samples.document("r1")
    assert held.without_revoked(document) is document
    held.take(signed(samples, 1, "r2"))
    assert held.without_revoked(document).interfaces[0].neighbors == ()
    held.take(signed(samples, 2, "r1"))
    assert held.without_revoked(document).interfaces[0].neighbors == ()
    held.take(signed(samples, 3, "r3"))
    assert held.without_revoked(document) == document


# -- the Policy Server ------------------------------------------------------------------------------------------------


def new_store(samples: ModuleType, folder: Path) -> PolicyStore:
    store = PolicyStore.create(folder, samples.domain("r1", "r2", "r3"))
    store.commit("anna", "first", 1)
    return store


def test_removing_a_router_revokes_its_key_with_the_commit_and_the_next_list_keeps_it(
    samples: ModuleType, tmp_path: Path
) -> None:
    store = new_store(samples, tmp_path / "s")
    assert store.revocation() is None
    store.edit(edit.remove_router(store.draft(), "r2"))
    store.commit("anna", "r2 was stolen", 2)
    store.edit(edit.remove_router(store.draft(), "r3"))
    store.commit("anna", "r3 too", 3)
    assert [(each.version, {e.name for e in each.routers}) for each in store.revocations()] == [
        (2, {"r2", "r3"}),
        (1, {"r2"}),
    ]
    assert store.verify() == []


def test_a_commit_that_revokes_nothing_signs_no_new_list(samples: ModuleType, tmp_path: Path) -> None:
    store = new_store(samples, tmp_path / "s")
    store.edit(edit.remove_router(store.draft(), "r2"))
    store.commit("anna", "r2 was stolen", 2)
    store.edit(edit.add_router(store.draft(), "r4", spki(samples.private_key("r4"))))
    store.commit("anna", "r4", 3)
    assert [each.version for each in store.revocations()] == [1]


def test_a_revoked_key_never_comes_back_by_addition_nor_by_rollback(samples: ModuleType, tmp_path: Path) -> None:
    store = new_store(samples, tmp_path / "s")
    store.edit(edit.remove_router(store.draft(), "r2"))
    store.commit("anna", "r2 was stolen", 2)
    with pytest.raises(PolicyError, match="revoked"):
        edit.add_router(store.draft(), "r2", spki(samples.private_key("r2")))
    store.rollback(1)
    assert any("r2 has a revoked key" in each for each in problems(store.draft()))
    with pytest.raises(PolicyError, match="revoked key"):
        store.commit("anna", "back", 3)


def test_signed_lists_cannot_be_changed_in_the_store_and_an_altered_one_is_found(
    samples: ModuleType, tmp_path: Path
) -> None:
    store = new_store(samples, tmp_path / "s")
    store.edit(edit.remove_router(store.draft(), "r2"))
    store.commit("anna", "r2", 2)
    store.close()
    with sqlite3.connect(tmp_path / "s" / "policy.db") as db:
        with pytest.raises(sqlite3.IntegrityError, match="history"):
            db.execute("DELETE FROM revocations")
        db.execute("DROP TRIGGER revocations_stay")
        db.execute("UPDATE revocations SET signed = zeroblob(100)")
    assert PolicyStore(tmp_path / "s").verify()


def test_a_store_of_the_first_schema_gets_room_for_revocations(samples: ModuleType, tmp_path: Path) -> None:
    store = new_store(samples, tmp_path / "s")
    store.close()
    with sqlite3.connect(tmp_path / "s" / "policy.db") as db:
        db.executescript("DROP TABLE revocations; DROP TABLE forgotten; PRAGMA user_version = 1;")
    store = PolicyStore(tmp_path / "s")
    store.edit(edit.remove_router(store.draft(), "r2"))
    store.commit("anna", "r2", 2)
    assert [each.version for each in store.revocations()] == [1]


def test_the_command_line_removes_revokes_and_exports(
    samples: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_store(samples, tmp_path / "s").close()
    monkeypatch.setenv("POLICY_STORE", str(tmp_path / "s"))

    def run(*words: str) -> None:
        with pytest.raises(SystemExit) as end:
            main(list(words))
        assert end.value.code == 0, words

    out = tmp_path / "out"
    run("export", str(out))
    assert (out / "r2.cose").exists() and not (out / FILE).exists()
    run("router", "remove", "r2")
    run("commit", "-m", "r2 was stolen")
    run("export", str(out))
    assert not (out / "r2.cose").exists()
    (out / "r2.cose").write_text("somebody's own notes")
    run("export", str(out))
    assert (out / "r2.cose").read_text() == "somebody's own notes"
    store = PolicyStore(tmp_path / "s")
    found = verify_list((out / FILE).read_bytes(), store.public_key, domain="example")
    assert [each.name for each in found.routers] == ["r2"]
    assert public_pem(store.public_key) == (out / "policy-server.pem").read_bytes()
