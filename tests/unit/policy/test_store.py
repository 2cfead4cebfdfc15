"""The Policy Server's store, its key files and its command line."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from types import ModuleType

import pytest

from agents.policy import edit
from agents.policy.cli import main
from agents.policy.document import verify_document
from agents.policy.errors import PolicyError
from agents.policy.keys import public_pem, read_private_key, spki, write_private_key
from agents.policy.store import PolicyStore


def new_store(samples: ModuleType, folder: Path) -> PolicyStore:
    """A store with the approved router r1 in its draft."""
    return PolicyStore.create(folder, samples.domain("r1"))


def test_a_commit_keeps_who_why_and_documents_that_verify(samples: ModuleType, tmp_path: Path) -> None:
    store = new_store(samples, tmp_path / "s")
    done, fresh = store.commit("anna", "first routers", 1000)
    assert (done.version, fresh) == (1, {"r1"})
    assert [(each.who, each.why, each.at) for each in store.history()] == [("anna", "first routers", 1000)]
    assert verify_document(store.documents()["r1"], store.public_key, domain="example", router="r1").version == 1
    assert store.verify() == []


def test_a_commit_without_a_change_or_a_reason_is_refused(samples: ModuleType, tmp_path: Path) -> None:
    store = new_store(samples, tmp_path / "s")
    with pytest.raises(PolicyError, match="an author and a reason"):
        store.commit("anna", " ", 1)
    store.commit("anna", "first", 1)
    with pytest.raises(PolicyError, match="the same"):
        store.commit("anna", "again", 2)
    assert store.version == 1


def test_an_inconsistent_draft_is_not_signed_and_nothing_is_kept(samples: ModuleType, tmp_path: Path) -> None:
    store = new_store(samples, tmp_path / "s")
    twin = edit.add_router(store.draft(), "r2", spki(samples.private_key("r1")))
    store.edit(twin)
    with pytest.raises(PolicyError, match="same key"):
        store.commit("anna", "twins", 1)
    assert store.version == 0 and store.documents() == {}


def test_a_rollback_is_a_new_draft_and_keeps_the_history(samples: ModuleType, tmp_path: Path) -> None:
    store = new_store(samples, tmp_path / "s")
    store.commit("anna", "one", 1)
    store.edit(edit.add_router(store.draft(), "r2", spki(samples.private_key("r2"))))
    store.commit("ben", "two", 2)
    spent = store.draft().next_spi
    store.rollback(1)
    assert set(store.draft().routers) == {"r1"} and store.draft().next_spi == spent
    store.commit("anna", "back to one", 3)
    assert [each.version for each in store.history()] == [3, 2, 1]


def test_history_cannot_be_changed_and_forgery_is_seen(samples: ModuleType, tmp_path: Path) -> None:
    store = new_store(samples, tmp_path / "s")
    store.commit("anna", "one", 1)
    store.close()
    with sqlite3.connect(tmp_path / "s" / "policy.db") as db:
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("UPDATE versions SET who = 'eve'")
        db.execute("DROP TRIGGER documents_stay")
        db.execute("UPDATE documents SET signed = x'00'")
    assert PolicyStore(tmp_path / "s").verify()


def test_private_keys_are_for_their_owner_alone(samples: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    write_private_key(path, samples.SERVER)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_private_key(path).private_bytes_raw() == samples.SERVER.private_bytes_raw()
    with pytest.raises(FileExistsError):
        write_private_key(path, samples.SERVER)
    path.chmod(0o640)
    with pytest.raises(PolicyError, match="0600"):
        read_private_key(path)


def run(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `policy`."""
    with pytest.raises(SystemExit) as left:
        main(["--store", str(folder / "s"), *arguments])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def test_the_command_line_goes_from_nothing_to_verified_documents(
    samples: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("dks", "r1", "r2"):
        (tmp_path / f"{name}.pub").write_bytes(public_pem(samples.private_key(name)))

    def policy(*arguments: str) -> tuple[int, str, str]:
        return run(capsys, tmp_path, *arguments)

    assert policy("init", "example", "--dks-key", str(tmp_path / "dks.pub"), "--dks-address", "10.9.0.1")[0] == 0
    for number in (1, 2):
        key = ("--key", str(tmp_path / f"r{number}.pub"))
        assert policy("router", "add", f"r{number}", *key)[0] == 0
        assert policy("router", "approve", f"r{number}", *key)[0] == 0
        where = ("--address", f"10.1.0.{number}/30", "--link-local", f"fe80::{number}", "--mode", "required")
        assert policy("interface", "add", f"r{number}:eth0", *where)[0] == 0
    assert policy("adjacency", "allow", "r1:eth0", "r2:eth0")[0] == 0
    code, out, _ = policy("commit", "-m", "both", "--who", "anna", "--json")
    assert code == 0 and json.loads(out)["documents"] == ["r1", "r2"]
    assert policy("interface", "mode", "r1:eth0", "clear")[0] == 0
    code, out, _ = policy("diff")
    assert code == 1 and "cannot understand each other" in out
    code, _, err = policy("commit", "-m", "wrong")
    assert code == 2 and "cannot understand each other" in err
    assert policy("export", str(tmp_path / "out"))[0] == 0
    assert policy("verify", str(tmp_path / "out" / "r1.cose"))[0] == 0
    assert policy("verify")[0] == 0
    (tmp_path / "out" / "r1.cose").write_bytes(b"\xd2\x84")
    assert policy("verify", str(tmp_path / "out" / "r1.cose"))[0] == 1
    assert policy("router", "remove", "r2")[0] == policy("commit", "-m", "r2 is gone")[0] == 0
    assert policy("export", str(tmp_path / "later"))[0] == 0
    code, out, _ = policy("verify", str(tmp_path / "later" / "revocation.cose"))
    assert code == 0 and out.startswith("revocation list of example, version 1: 1 routers, 0 administrators")


def test_the_command_line_says_what_is_wrong_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, tmp_path, "diff")
    assert code == 2 and "no policy store" in err and "next:" in err
    assert run(capsys, tmp_path, "no-such-verb")[0] == 2


def test_the_policy_servers_own_key_is_no_routers(samples: ModuleType, tmp_path: Path) -> None:
    store = new_store(samples, tmp_path / "s")
    store.edit(edit.add_router(store.draft(), "r9", spki(store.public_key), approved=True))
    with pytest.raises(PolicyError, match="r9: this is the Policy Server's own key"):
        store.commit("anna", "r9", 9)
