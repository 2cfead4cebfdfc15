"""Mistakes at the Policy Server's command line: each is told, and nothing is lost or signed in vain."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from agents.policy import edit
from agents.policy.cli import main
from agents.policy.errors import PolicyError
from agents.policy.keys import public_pem, spki, write_private_key
from agents.policy.names import check_router
from agents.policy.store import PolicyStore


@pytest.fixture
def store(samples: ModuleType, tmp_path: Path) -> Path:
    """A store whose draft has r1 and r2."""
    PolicyStore.create(tmp_path / "s", samples.domain("r1", "r2")).close()
    return tmp_path / "s"


def said(capsys: pytest.CaptureFixture[str], store: Path, *words: str) -> tuple[int, str]:
    """The exit code, and what was printed."""
    with pytest.raises(SystemExit) as left:
        main(["--store", str(store), *words])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out + err


def test_another_key_in_the_place_of_the_root_key_signs_nothing(
    samples: ModuleType, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = PolicyStore(store)
    key = spki(samples.private_key("anna"))
    opened.edit(edit.add_administrator(opened.draft(), "anna", key))
    opened.commit("anna", "first", 1)
    opened.edit(edit.add_router(opened.draft(), "r3", spki(samples.private_key("r3")), approved=True))
    opened.close()
    (store / "key.pem").unlink()
    write_private_key(store / "key.pem", samples.private_key("r1"))
    for words in (["commit", "-m", "x"], ["admin", "delegate", "anna", "--out", str(store / "anna.cose")]):
        code, text = said(capsys, store, *words)
        assert code == 2 and "not the key of key.pub" in text
    assert PolicyStore(store).version == 1 and not (store / "anna.cose").exists()


def test_of_many_that_make_one_store_at_once_one_does_and_the_others_are_told(
    samples: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "dks.pub").write_bytes(public_pem(samples.private_key("dks")))
    words = ["--store", str(tmp_path / "s"), "init", "d", "--dks-key", str(tmp_path / "dks.pub")]
    command = [sys.executable, "-m", "agents.policy", *words, "--dks-address", "10.9.0.1"]
    all_ = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in range(4)]
    ended = [(each.communicate()[1], each.returncode) for each in all_]
    assert sorted(code for _text, code in ended) == [0, 2, 2, 2]
    assert all("already holds a policy store" in text for text, code in ended if code)
    PolicyStore(tmp_path / "s").close()
    assert sorted(each.name for each in (tmp_path / "s").iterdir()) == ["key.pem", "key.pub", "policy.db"]


def test_a_reason_makes_no_lines_and_no_colours_in_the_history(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = PolicyStore(store)
    opened.commit("anna\u202e", "new\n    9  2030-01-01 00:00:00Z  root: \x1b[31mall is well ü", 1)
    opened.close()
    code, text = said(capsys, store, "history")
    assert code == 0 and len(text.splitlines()) == 1 and "\x1b" not in text and "\u202e" not in text
    assert "new\\n    9" in text and text.endswith("ü\n")


@pytest.mark.parametrize("name", ["../x", "", "-x", "a" * 64, "ü", "dks", "a b"])
def test_a_name_that_no_router_can_have_is_refused_with_all_that_is_allowed(name: str) -> None:
    with pytest.raises(PolicyError, match=r"up to 63 letters, digits and \. _ -, a letter or digit first"):
        check_router(name)


@pytest.mark.parametrize(
    "words, told",
    [
        (["router", "remove", "r1", "--lease-left", "r2=5"], "--lease-left only works with --explain"),
        (["router", "remove", "r1", "--explain", "--lease-left", "r7=5"], "has no router 'r7'"),
        (["interface", "add", "r1:e0", "--address", "10.0.0.1", "--link-local", "fe80::1"], "--address is '10.0.0.1'"),
        (["interface", "add", "r1:e0", "--address", "10.0.0.1/33", "--link-local", "fe80::1"], "--address is"),
        (["interface", "add", "r1:e0", "--address", "10.0.0.1/24", "--link-local", "10.0.0.1"], "--link-local is"),
        (["interface", "add", "r1:e0", "--link-local", "fe80::1", "--protocol", "pim"], "has no IPv4 address"),
        (["router", "add", "r3", "--key", "{two}"], "more than one key"),
        (["export", "{file}"], "Not a directory"),
        (["serve", "--tls-cert", "{secret}", "--tls-key", "{secret}"], "unusable for TLS"),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed_and_changes_nothing(
    samples: ModuleType, store: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    for name in ("two", "file", "secret"):
        (store.parent / name).write_bytes(public_pem(samples.private_key("a")) + public_pem(samples.private_key("b")))
        (store.parent / name).chmod(0o600)
    opened = PolicyStore(store)
    opened.commit("anna", "first", 1)
    before = opened.draft()
    paths = {name: store.parent / name for name in ("two", "file", "secret")}
    code, text = said(capsys, store, *(each.format(**paths) for each in words))
    assert code == 2 and told in text
    assert opened.draft() == before
    opened.close()


@pytest.mark.parametrize(
    "words",
    [
        ["export", ""],
        ["commit", "-m", "x", "--who", ""],
        ["router", "add", "", "--key", "x"],
        ["verify", "--key="],
        ["--store", "", "diff"],
    ],
)
def test_an_empty_word_is_no_path_and_no_name(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    (store.parent / "here").mkdir()
    monkeypatch.chdir(store.parent / "here")
    PolicyStore(store).commit("anna", "first", 1)
    code, text = said(capsys, store, *words)
    assert code == 2 and "is empty; is a variable of the shell unset?" in text
    assert not list((store.parent / "here").iterdir()) and PolicyStore(store).version == 1


@pytest.mark.parametrize(
    ("words", "at"),
    [
        (["commit", "-m", "\udcff"], "-m is"), (["commit", "--message=a\udc80"], "--message is"),
        (["router", "show", "\udcff"], "a word of the command is"), (["--store", "\udcff", "diff"], "--store is"),
    ],
)  # fmt: skip
def test_octets_that_are_no_utf_8_are_no_word(
    store: Path, capsys: pytest.CaptureFixture[str], words: list[str], at: str
) -> None:
    code, text = said(capsys, store, *words)
    assert code == 2 and at in text and "allowed: UTF-8" in text and PolicyStore(store).version == 0


def test_a_token_that_could_not_be_printed_is_none(store: Path) -> None:
    command = [sys.executable, "-m", "agents.policy", "--store", str(store), "token"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*command, "add", "alice", "--role", "read"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 3 and b"No space left" in done.stderr
    assert "alice" not in subprocess.run([*command, "list"], capture_output=True, text=True, check=True).stdout
