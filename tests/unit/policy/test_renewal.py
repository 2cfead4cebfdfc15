"""Documents are signed anew in time: by the root key or an administrator, with nothing else changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.policy import edit, renewal
from agents.policy.cli import main
from agents.policy.document import Lease, PolicyDocument, verify_document
from agents.policy.domain import Domain, Settings
from agents.policy.errors import PolicyError
from agents.policy.keys import spki, write_private_key
from agents.policy.serve_cli import renew_once, renewed
from agents.policy.store import PolicyStore, Signer
from agents.runtime.effects import Event
from testbed.simulation.network import Network
from testbed.simulation.parties import key

DAY = 86400
ROW = {"a": ("r1", "r2"), "b": ("r2", "r3")}
ANNA = Ed25519PrivateKey.from_private_bytes(b"anna".ljust(32, b"!"))
BEGIN = 1000 * DAY


def domain(**settings: object) -> Domain:
    return edit.with_settings(Network(ROW).domain, Settings(**settings))  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    made = PolicyStore.create(tmp_path / "store", edit.add_administrator(domain(), "anna", spki(ANNA)), key("root"))
    made.commit("me", "first", BEGIN)
    return made


def documents(store: PolicyStore) -> dict[str, PolicyDocument]:
    name, public = store.draft().name, store.public_key
    return {each: verify_document(octets, public, domain=name) for each, octets in store.documents().items()}


def test_documents_are_signed_anew_at_half_a_lease_and_before_that_nothing_is(store: PolicyStore) -> None:
    none = store.renew("timer", BEGIN + 15 * DAY - 1)
    assert (none.commit, none.routers, none.next_at, store.version) == (None, frozenset(), BEGIN + 15 * DAY, 1)
    before = documents(store)
    done = store.renew("timer", BEGIN + 15 * DAY)
    assert done.commit is not None and done.routers == {"r1", "r2", "r3"}
    for name, each in documents(store).items():
        stamps = {"version": 2, "issued_at": BEGIN + 15 * DAY, "expires_at": BEGIN + 105 * DAY}
        assert each == before[name].model_copy(update=stamps)
    newest = store.history()[0]
    assert (newest.who, newest.why) == ("timer", "documents signed again before they expire")
    assert store.draft() == store.domain(2) and store.verify() == []
    assert store.draft().documents_until == BEGIN + 105 * DAY, "revoked keys are remembered until then"


@pytest.mark.parametrize(
    ("lease_s", "validity_s", "age_s"),
    [
        (30 * DAY, 90 * DAY, 15 * DAY),
        (4 * 3600, 90 * DAY, DAY),  # not every two hours
        (90 * DAY, 90 * DAY, 30 * DAY),
        (30 * DAY, 3 * 3600, 3600),
    ],
)
def test_how_old_a_document_may_become_follows_from_its_lease_and_validity(
    lease_s: int, validity_s: int, age_s: int, samples: object
) -> None:
    made = samples.document(  # type: ignore[attr-defined]
        issued_at=BEGIN, expires_at=BEGIN + validity_s, lease=Lease(seconds=lease_s)
    )
    assert renewal.due_at(renewal.Signed(made, float("inf")), float("inf")) == BEGIN + age_s


def test_only_the_documents_that_are_due_are_signed_anew(store: PolicyStore) -> None:
    changed = edit.set_own(store.draft(), ["r1"], [], lambda now: {"lease": Lease(seconds=20 * DAY)})
    store.edit(changed)
    store.commit("me", "a shorter lease", BEGIN + 8 * DAY)
    assert store.renew("timer", BEGIN + 15 * DAY).routers == {"r2", "r3"}
    assert store.renew("timer", BEGIN + 18 * DAY).routers == {"r1"}


def test_changes_that_are_not_committed_stay_in_the_draft_and_out_of_the_documents(store: PolicyStore) -> None:
    edited = edit.remove_router(store.draft(), "r3")
    store.edit(edited)
    assert store.renew("timer", BEGIN + 20 * DAY).routers == {"r1", "r2", "r3"}
    assert store.draft() == edited and store.revocation() is None
    store.commit("me", "r3 is sold", BEGIN + 21 * DAY)
    assert set(documents(store)) == {"r1", "r2"} and store.revocation() is not None
    (gone,) = store.draft().revoked_routers
    assert gone.until == BEGIN + 110 * DAY, "r2's renewed document names r3's key until then"


def test_an_administrator_signs_anew_while_the_root_key_is_in_a_safe(store: PolicyStore) -> None:
    delegation = store.delegate("anna", BEGIN, 365 * DAY)
    (store.folder / "key.pem").rename(store.folder.parent / "safe.pem")
    with pytest.raises(PolicyError, match=r"key\.pem"):
        store.renew("timer", BEGIN + 20 * DAY)
    done = store.renew("timer", BEGIN + 20 * DAY, Signer(ANNA, delegation))
    assert done.routers == {"r1", "r2", "r3"} and done.warning is None
    assert documents(store)["r1"].issued_at == BEGIN + 20 * DAY


def test_a_delegation_that_ends_is_warned_of_and_its_documents_are_signed_anew_by_who_may_for_longer(
    store: PolicyStore,
) -> None:
    short = Signer(ANNA, store.delegate("anna", BEGIN, 40 * DAY))
    assert store.renew("timer", BEGIN + 15 * DAY, short).warning is not None
    none = store.renew("timer", BEGIN + 16 * DAY, short)
    assert none.commit is None, "signing them anew under the same delegation would help nobody"
    assert "ends in 24 days" in str(none.warning) and "policy admin delegate anna" in str(none.warning)
    longer = Signer(ANNA, store.delegate("anna", BEGIN + 16 * DAY, 365 * DAY))
    done = store.renew("timer", BEGIN + 16 * DAY, longer)
    assert done.routers == {"r1", "r2", "r3"} and done.warning is None
    at = float(BEGIN + 50 * DAY)
    octets = store.documents()["r1"]
    assert verify_document(octets, store.public_key, domain=store.draft().name, wall_s=at).version == 3


def test_the_server_signs_anew_by_itself_and_tells_what_stands_against_it(store: PolicyStore, tmp_path: Path) -> None:
    told: list[Event] = []
    renew_once(store.folder, None, BEGIN + 20 * DAY, told.append)
    renew_once(store.folder, None, BEGIN + 21 * DAY, told.append)
    assert [(each.kind, dict(each.fields)) for each in told] == [("renewed", {"version": 2, "documents": 3})]
    (store.folder / "key.pem").unlink()
    renew_once(store.folder, None, BEGIN + 60 * DAY, told.append)
    assert told[-1].kind == "error" and "key.pem" in told[-1].fields["detail"] and store.version == 2
    with renewed(store.folder, None, told.append):
        pass  # it has looked once when this ends, whatever it found
    assert len(told) == 3 and told[-1].fields["what"] == "renewal"


def test_nothing_is_signed_anew_before_the_first_commit(tmp_path: Path) -> None:
    fresh = PolicyStore.create(tmp_path / "fresh", domain())
    with pytest.raises(PolicyError, match="nothing has been committed yet"):
        fresh.renew("timer", BEGIN)
    told: list[Event] = []
    renew_once(fresh.folder, None, BEGIN, told.append)
    assert told == []


def test_the_command_line_renews_exports_and_says_when_the_next_is_due(
    store: PolicyStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "anna.cose").write_bytes(store.delegate("anna", BEGIN, 40 * DAY))
    write_private_key(tmp_path / "anna.pem", ANNA)
    now = [float(BEGIN + 14 * DAY)]
    monkeypatch.setattr("agents.policy.cli.time.time", lambda: now[0])
    by_anna = ["--administrator", str(tmp_path / "anna.pem"), "--delegation", str(tmp_path / "anna.cose")]

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(["--store", str(store.folder), "renew", "--who", "timer", *words])
        assert left.value.code == 0
        return capsys.readouterr().out

    assert "nothing is due before 1972-10-12" in run()
    now[0] += DAY
    text = run(*by_anna, "--export", str(tmp_path / "out"))
    assert "version 2: 3 documents signed again" in text and "? the delegation of administrator anna ends in" in text
    assert (tmp_path / "out" / "r1.cose").read_bytes() == store.documents()["r1"]
    assert json.loads(run("--json"))["documents"] == ["r1", "r2", "r3"], "the root key may sign for longer than anna"
