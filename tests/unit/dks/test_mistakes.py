"""Mistakes in a DKS's configuration: told at once, since no router says what it misses."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.dks import serve
from agents.dks.config import read_config
from agents.dks.daemon import main
from agents.dks.documents import Documents
from agents.policy.keys import read_public_key, write_private_key
from agents.runtime.settings import ConfigError
from tests.unit.runtime.commissioned import commissioned

CONFIG = (
    'domain = "example"\nidentity = "identity.pem"\npolicy_server_key = "server.pem"\ndocuments = "documents"\n'
    'state_dir = "state"\nevents = "events"\nlisten = "127.0.0.1"\n'
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DKS's files, as they should be."""
    monkeypatch.setattr("agents.dks.daemon.harden.process", lambda: None)
    return commissioned(tmp_path, int(time.time()) - 60).path("dks")


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


class Idle:
    """In the place of what drives the core."""

    def __init__(self, *_: object, **__: object) -> None: ...

    async def run(self) -> None: ...


@pytest.mark.parametrize("wrong", ["", "name", "key"])
def test_a_dks_that_the_documents_do_not_name_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], wrong: str
) -> None:
    monkeypatch.setattr(serve, "Driver", Idle)
    if wrong == "key":
        (folder / "identity.pem").unlink()
        write_private_key(folder / "identity.pem", Ed25519PrivateKey.generate())
    name = 'name = "key-server"\n' if wrong == "name" else ""
    (folder / "dks.toml").write_text(f"{name}port = {free_port()}\n{CONFIG}")
    assert main(["run", "--config", str(folder / "dks.toml")]) == 0
    said = capfd.readouterr().err
    events = [json.loads(line) for line in (folder / "events").read_text().splitlines()]
    assert [each["what"] for each in events if each["kind"] == "error"] == (["identity"] if wrong else [])
    assert ("not that of the DKS that the document of r1 names" in said) is bool(wrong)


def test_a_dks_without_documents_says_so_and_where_it_looked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "Driver", Idle)
    (folder / "documents" / "r1.cose").unlink()
    (folder / "dks.toml").write_text(f"port = {free_port()}\n{CONFIG}")
    assert main(["run", "--config", str(folder / "dks.toml")]) == 0
    assert f"warning no_routers documents={folder}/documents" in capfd.readouterr().err


def test_documents_that_cannot_be_listed_end_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = CONFIG.replace('"documents"', '"identity.pem"')
    (folder / "dks.toml").write_text(f"port = {free_port()}\n{settings}")
    assert main(["run", "--config", str(folder / "dks.toml")]) == 3
    assert "identity.pem: Not a directory" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        (folder / "dks.toml").write_text(f"port = {port}\n{CONFIG}")
        assert main(["run", "--config", str(folder / "dks.toml")]) == 3
    assert capsys.readouterr().err.startswith(
        f"dks: UDP 127.0.0.1 port {port}: Address already in use\ndks:   next:    ss "
    )


def test_an_address_that_is_none_is_bad_input(folder: Path) -> None:
    (folder / "dks.toml").write_text(CONFIG.replace("127.0.0.1", "everywhere"))
    with pytest.raises(ConfigError, match="an IPv4 or IPv6 address"):
        read_config(folder / "dks.toml")


def test_a_document_without_an_end_keeps_no_other_one_out(folder: Path) -> None:
    (folder / "documents" / "a.cose").symlink_to("/dev/zero")
    documents = Documents("example", read_public_key(folder / "server.pem"))
    fresh, wrong = documents.load(folder / "documents")
    assert [each.router for each in fresh] == ["r1"] and "a.cose" in wrong[0] and "not a regular file" in wrong[0]


def test_octets_that_are_no_utf_8_are_no_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["rekey", "\udcff"])
    assert left.value.code == 2 and "allowed: UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["rekey", ""], ["confirmations", "--export", ""], ["--config="]])
def test_an_empty_word_is_no_path_and_no_name(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2 and "is empty" in capsys.readouterr().err
