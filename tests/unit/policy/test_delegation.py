"""Administrators who sign documents because the root key says so, and what their revocation does."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.dks.documents import Documents
from agents.policy import cbor, cose, edit
from agents.policy.cli import main
from agents.policy.delegation import Delegation, join, sign_delegation, split, verify_delegation
from agents.policy.document import sign_document, verify_document
from agents.policy.domain import Domain
from agents.policy.errors import PolicyError
from agents.policy.keys import public_pem, read_private_key, spki, write_private_key, write_public
from agents.policy.revocation import key_hash, make_list, sign_list, verify_list
from agents.policy.store import PolicyStore, Signer
from testbed.simulation.network import Network
from testbed.simulation.parties import POLICY_SERVER, key

YEAR_S = 365 * 86400


def store_with_anna(samples: ModuleType, folder: Path) -> tuple[PolicyStore, Signer]:
    """Two approved routers and an administrator, committed by the root key at 1000; nothing signed by her yet."""
    domain = edit.add_administrator(samples.domain("r1", "r2"), "anna", spki(samples.private_key("anna")))
    store = PolicyStore.create(folder, domain)
    store.commit("root", "first", 1000)
    return store, Signer(samples.private_key("anna"), store.delegate("anna", 1000, YEAR_S))


def changed(domain: Domain) -> Domain:
    """A change that gives every router a new document."""
    return domain.model_copy(update={"settings": domain.settings.model_copy(update={"generation_block": 99})})


def signed_by_anna(store: PolicyStore) -> set[str]:
    return {name for name, octets in store.documents().items() if split(octets)[0] is not None}


def test_documents_of_an_administrator_verify_by_the_root_key_which_need_not_be_there(
    samples: ModuleType, tmp_path: Path
) -> None:
    store, anna = store_with_anna(samples, tmp_path / "s")
    (tmp_path / "s" / "key.pem").unlink()
    store.edit(changed(store.draft()))
    done, fresh = store.commit("anna", "changed", 2000, signer=anna)
    assert fresh == {"r1", "r2"} == signed_by_anna(store)
    found = verify_document(store.documents()["r1"], store.public_key, domain="example", router="r1", wall_s=3000)
    assert found.version == done.version and store.verify() == []


def test_revoking_an_administrator_signs_a_list_and_all_that_was_signed_by_that_key_anew(
    samples: ModuleType, tmp_path: Path
) -> None:
    store, anna = store_with_anna(samples, tmp_path / "s")
    store.edit(changed(store.draft()))
    store.commit("anna", "changed", 2000, signer=anna)
    by_anna = store.documents()
    store.edit(edit.revoke_administrator(store.draft(), "anna"))
    done, fresh = store.commit("root", "anna has left", 3000)
    assert fresh == {"r1", "r2"} and signed_by_anna(store) == set()
    revocation = store.revocation()
    assert revocation is not None
    (gone,) = verify_list(revocation, store.public_key, domain="example").administrators
    assert gone.name == "anna"

    documents = Documents("example", store.public_key)
    assert documents.add(by_anna["r1"]) is not None and documents.add(by_anna["r2"]) is not None
    documents.revocations.take(revocation)
    assert sorted(documents.drop_revoked()) == ["r1", "r2"] and documents.of("r1") is None
    with pytest.raises(PolicyError, match="anna is revoked"):
        documents.add(by_anna["r1"])
    renewed = documents.add(store.documents()["r1"])
    assert renewed is not None and renewed.version == done.version


def test_only_the_root_key_revokes(samples: ModuleType, tmp_path: Path) -> None:
    store, anna = store_with_anna(samples, tmp_path / "s")
    for change in (
        edit.revoke_administrator(store.draft(), "anna"),
        edit.remove_router(store.draft(), "r2"),
    ):
        store.edit(change)
        with pytest.raises(PolicyError, match=r"only the root key|no longer an administrator"):
            store.commit("anna", "more for me", 2000, signer=anna)
    assert store.version == 1 and store.revocation() is None


def test_a_delegated_key_gives_a_replaced_router_its_new_key_and_the_root_key_s_next_commit_revokes_the_old_one(
    samples: ModuleType, tmp_path: Path
) -> None:
    store, anna = store_with_anna(samples, tmp_path / "s")
    fresh = spki(samples.private_key("another machine"))
    replaced = edit.replace_router(store.draft(), "r2", fresh)
    store.edit(edit.approve_router(replaced, "r2", fresh))
    done, new = store.commit("anna", "r2 burnt down", 2000, signer=anna)
    assert "r2" in new and store.revocation() is None and store.unlisted() == ["r2"]
    (told,) = store.unlisted_warnings()
    assert "r2" in told and "root key" in told
    signed = verify_document(store.documents()["r2"], store.public_key, domain="example", router="r2")
    assert signed.identity == fresh and signed.version == done.version

    store.commit("root", "the old key of r2", 3000)
    revocation = store.revocation()
    assert revocation is not None and store.unlisted() == [] == store.unlisted_warnings()
    (gone,) = verify_list(revocation, store.public_key, domain="example").routers
    assert gone.name == "r2" and gone.key == key_hash(spki(samples.private_key("r2")))
    with pytest.raises(PolicyError, match="the same as version"):
        store.commit("root", "again", 4000)


def test_a_delegated_key_removes_nobody_whom_it_replaced_before(samples: ModuleType, tmp_path: Path) -> None:
    store, anna = store_with_anna(samples, tmp_path / "s")
    fresh = spki(samples.private_key("another machine"))
    store.edit(edit.approve_router(edit.replace_router(store.draft(), "r2", fresh), "r2", fresh))
    store.commit("anna", "r2 burnt down", 2000, signer=anna)
    store.edit(edit.remove_router(store.draft(), "r2"))
    with pytest.raises(PolicyError, match="only the root key"):
        store.commit("anna", "and now it goes", 3000, signer=anna)


@pytest.mark.parametrize("case", ["expired", "other key", "unknown", "other root", "other domain"])
def test_who_is_no_administrator_signs_nothing(samples: ModuleType, tmp_path: Path, case: str) -> None:
    store, anna = store_with_anna(samples, tmp_path / "s")
    store.edit(changed(store.draft()))
    root, own = samples.private_key("other root"), samples.private_key("anna")
    claim = Delegation(domain="example", name="anna", key=spki(own), issued_at=0, expires_at=YEAR_S)
    other = {"name": "eve", "key": spki(samples.private_key("eve"))}
    server = read_private_key(store.folder / "key.pem")
    signer, at = {
        "expired": (anna, 1000 + YEAR_S),
        "other key": (Signer(samples.private_key("eve"), anna.delegation), 2000),
        "unknown": (Signer(samples.private_key("eve"), sign_delegation(claim.model_copy(update=other), server)), 2000),
        "other root": (Signer(own, sign_delegation(claim, root)), 2000),
        "other domain": (Signer(own, sign_delegation(claim.model_copy(update={"domain": "else"}), server)), 2000),
    }[case]
    with pytest.raises(PolicyError):
        store.commit("somebody", "changed", at, signer=signer)
    assert store.version == 1


def test_a_document_with_the_delegation_of_another_key_is_refused(samples: ModuleType) -> None:
    root, anna, eve = (samples.private_key(name) for name in ("root", "anna", "eve"))
    claim = Delegation(domain="example", name="anna", key=spki(anna), issued_at=0, expires_at=100)
    delegation = sign_delegation(claim, root)
    document = samples.document("r1")
    good = join(delegation, sign_document(document, anna))
    assert verify_document(good, root.public_key(), domain="example", wall_s=None) == document
    for wrong in (
        join(delegation, sign_document(document, eve)),
        join(cose.sign("router-keys/revocation/1", cbor.encode(dict(claim)), root), sign_document(document, anna)),
        join(sign_delegation(claim, eve), sign_document(document, anna)),
        sign_document(document, anna),
        join(delegation, join(delegation, sign_document(document, anna))),
    ):
        with pytest.raises(PolicyError):
            verify_document(wrong, root.public_key(), domain="example")
    with pytest.raises(PolicyError, match="expired"):
        verify_document(good, root.public_key(), domain="example", wall_s=100)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"\x82" + tail))
@settings(max_examples=300, deadline=None)
def test_octets_that_are_no_document_raise_a_policy_error_and_nothing_else(data: bytes) -> None:
    root = POLICY_SERVER.public_key()
    with pytest.raises(PolicyError):
        verify_document(data, root, domain="example")
    with pytest.raises(PolicyError):
        verify_delegation(data, root, domain="example")


def test_a_router_takes_nothing_more_from_a_revoked_administrator_and_says_so() -> None:
    network = Network({"a--b": ("a", "b")}, dks=True)
    anna = key("anna")
    claim = Delegation(domain="example", name="anna", key=spki(anna), issued_at=0, expires_at=1 << 39)
    delegation = sign_delegation(claim, POLICY_SERVER)
    network.power_on_all()
    assert network.run(10, network.all_keyed)
    network.domain = edit.add_administrator(network.domain, "anna", spki(anna))

    def publish(version: int) -> bytes:
        document = network.documents["a"].model_copy(update={"version": version})
        return join(delegation, sign_document(document, anna))

    core = network.lks("a")
    core.take_document(publish(7), network.now)
    core._adopt(network.now)
    assert core.document.version == 7
    revoked = edit.revoke_administrator(network.domain, "anna").revoked_administrators
    network.hand_over("a", sign_list(make_list("example", 1, 0, (), revoked), POLICY_SERVER))
    network.run(20)
    assert network.seen("error", "a", what="policy") and network.all_keyed()
    assert core.document.version == 1, "the DKS has the last policy of those whose keys count"
    core.take_document(publish(8), network.now)
    core._adopt(network.now)
    assert core.document.version == 1
    assert network.run(30, lambda: network.lks("b").revocation.version == 1), "the list goes on to neighbours"


def test_the_command_line_from_adding_to_revoking(
    samples: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    for name in ("dks", "r1", "anna"):
        write_public(tmp_path / f"{name}.pub", public_pem(samples.private_key(name).public_key()))
    write_private_key(tmp_path / "anna.pem", samples.private_key("anna"))

    def policy(*words: str) -> int:
        with pytest.raises(SystemExit) as done:
            main(["--store", str(store), *words])
        return int(done.value.code or 0)

    public = str(tmp_path / "r1.pub")
    assert policy("init", "example", "--dks-key", str(tmp_path / "dks.pub"), "--dks-address", "192.0.2.1") == 0
    assert policy("router", "add", "r1", "--key", public) == 0
    assert policy("router", "approve", "r1", "--key", public) == 0
    assert policy("admin", "delegate", "anna", "--out", str(tmp_path / "anna.cose")) == 2
    assert policy("admin", "add", "anna", "--key", str(tmp_path / "anna.pub")) == 0
    assert policy("commit", "-m", "first") == 0
    assert policy("admin", "delegate", "anna", "--out", str(tmp_path / "anna.cose")) == 0
    assert policy("interface", "add", "r1:eth0", "--address", "10.1.0.1/30", "--link-local", "fe80::1") == 0
    by_anna = ("--administrator", str(tmp_path / "anna.pem"), "--delegation", str(tmp_path / "anna.cose"))
    assert policy("commit", "-m", "an interface", *by_anna[:2]) == 2
    assert policy("commit", "-m", "an interface", *by_anna) == 0
    assert policy("export", str(tmp_path / "out")) == 0
    assert policy("verify", str(tmp_path / "out" / "r1.cose")) == 0
    assert policy("admin", "revoke", "anna") == 0
    assert policy("commit", "-m", "anna has left") == 0
    capsys.readouterr()
    assert policy("admin", "list", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["administrators"] == [] and [each["name"] for each in told["revoked"]] == ["anna"]
    assert policy("admin", "add", "anna", "--key", str(tmp_path / "anna.pub")) == 2
