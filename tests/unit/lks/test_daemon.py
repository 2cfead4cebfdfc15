"""The LKS as a process, on a kernel of the test: what it does and says when it cannot work."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.ipsec.model import Wanted
from agents.lks import daemon
from agents.lks.carrying import CARRIED
from agents.lks.retained import COUNTERS, Retained
from agents.policy.keys import write_private_key
from agents.runtime.effects import Persist
from agents.runtime.storage import seal
from agents.runtime.udp import UdpPort
from tests.unit.runtime.commissioned import commissioned


@dataclass
class KernelOfTests:
    """In the place of XFRM and what reconciles it."""

    applied: list[Wanted] = field(default_factory=list)
    port: int = 0

    def apply(self, wanted: Wanted) -> list[Any]:
        self.applied.append(wanted)
        return []

    def sequence(self, *_: object) -> int:
        return 0


@dataclass
class Router:
    """r1, commissioned, in a folder of its own."""

    folder: Path
    kernel: KernelOfTests

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def run(self) -> int:
        return daemon.main(["run", "--config", str(self.folder / "lks.toml")])

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.folder / "events").read_text().splitlines()
        return [each for each in map(json.loads, lines) if each["kind"] == kind]


@pytest.fixture
def router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Router:
    """As it was left by whoever commissioned it."""
    folder = commissioned(tmp_path, int(time.time()) - 60).path("lks")
    kernel = KernelOfTests()
    monkeypatch.setattr(daemon, "Xfrm", lambda: kernel)
    monkeypatch.setattr(daemon, "Reconciler", lambda *_: kernel)
    monkeypatch.setattr(daemon, "UdpPort", lambda _port: UdpPort(0, "127.0.0.1"))
    monkeypatch.setattr(daemon, "_Watch", lambda *_: None)
    monkeypatch.setattr(daemon, "snapshot", lambda: {"e0": object(), "e7": object()})
    monkeypatch.setattr(daemon.harden, "process", lambda: None)
    return Router(folder, kernel)


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_state_folder_that_others_may_write_to_closes_the_kernel_and_no_document_in_it_is_believed(
    router: Router, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    router.state.chmod(mode)
    assert router.run() == 3
    assert "no other user may write" in capsys.readouterr().err
    (wanted,) = router.kernel.applied
    closed = {policy.selector.interface for policy in wanted.policies if policy.selector.interface}
    assert router.events("closed") and {"e0", "e7"} <= closed


def test_a_document_without_an_end_is_not_read_for_ever(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    with (router.state / "policy.cose").open("wb") as file:
        file.truncate(1 << 30)
    assert router.run() == 3
    assert f"lks: r1: {router.state}/policy.cose: File too large\nlks:   next:    " in capsys.readouterr().err
    assert router.events("closed") and len(router.kernel.applied) == 1


@pytest.fixture
def impatient() -> Iterator[None]:
    """What waits for a pipe fails, and does not hang."""

    def late(*_: object) -> None:
        raise TimeoutError("it waits for a pipe")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


READ = ("state/policy.cose", "state/counters", "state/revocation.cose", "state/lease", "identity.pem", "server.pem")


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", [*READ, "lks.toml"])
@pytest.mark.usefixtures("impatient")
def test_a_pipe_or_device_in_the_place_of_any_file_is_said_and_holds_nobody_up(
    router: Router, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    place = router.folder / name
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place, 0o600)
    else:
        place.symlink_to("/dev/zero")
    assert router.run() == (2 if name == "lks.toml" else 3)
    assert f"{place}: not a regular file" in capsys.readouterr().err
    assert name == "lks.toml" or (router.events("closed") and len(router.kernel.applied) == 1)


def test_counters_of_another_router_are_refused_and_say_whose_they_are(
    router: Router, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[Persist] = []
    Retained(None, written.append, owner="example/r2").reserve(40, 16)  # type: ignore[arg-type]
    (router.state / COUNTERS).write_bytes(written[-1].data)
    assert router.run() == 3
    said = "the retained counters are of example/r2, not of example/r1: only its own counters say what it has sent with"
    assert capsys.readouterr().err == f"lks: r1: {router.state / COUNTERS}: {said}\n"
    assert router.events("closed") and len(router.kernel.applied) == 1


DAMAGES = {
    "empty": lambda _whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "an octet changed": lambda whole: whole[:-3] + bytes((whole[-3] ^ 1,)) + whole[-2:],
    "longer": lambda whole: whole + b"\0",
    "of another kind": lambda _whole: seal("something/1", b"else"),
    "text": lambda _whole: b"version: 3\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["policy.cose", "counters", "revocation.cose"])
def test_a_damaged_file_is_named_with_its_folder(
    router: Router, capsys: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    written: list[Persist] = []
    Retained(None, written.append, owner="example/r1").reserve(40, 16)  # type: ignore[arg-type]
    (router.state / COUNTERS).write_bytes(written[-1].data)
    place = router.state / name
    whole = place.read_bytes() if place.exists() else (router.state / "policy.cose").read_bytes()
    place.write_bytes(DAMAGES[damage](whole))
    assert router.run() == 3
    said, *_advice = capsys.readouterr().err.splitlines()
    assert said.startswith(f"lks: r1: {place}: ") and len(said) > len(f"lks: r1: {place}: ")
    (fatal,) = [each for each in router.events("error") if each["what"] == "fatal"]
    assert fatal["detail"] == said.removeprefix("lks: r1: ")


@pytest.mark.parametrize("own", [True, False])
def test_a_key_that_is_not_the_documents_is_said_at_the_start(
    router: Router, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], own: bool
) -> None:
    class Idle:
        def __init__(self, *_: object, **__: object) -> None: ...

        async def run(self) -> None: ...

    monkeypatch.setattr(daemon, "Driver", Idle)
    if not own:
        (router.folder / "identity.pem").unlink()
        write_private_key(router.folder / "identity.pem", Ed25519PrivateKey.generate())
    assert router.run() == 0
    assert ("not the key that r1's document names" in capfd.readouterr().err) is not own
    assert [each["what"] for each in router.events("error")] == ([] if own else ["identity"])


@pytest.mark.parametrize("kind", ["pipe", "device", "a folder"])
@pytest.mark.usefixtures("impatient")
def test_what_lies_in_the_place_of_others_documents_keeps_no_router_from_starting(
    router: Router, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    class Idle:
        def __init__(self, *_: object, **__: object) -> None: ...

        async def run(self) -> None: ...

    monkeypatch.setattr(daemon, "Driver", Idle)
    place = router.state / CARRIED
    if kind == "pipe":
        os.mkfifo(place, 0o600)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    else:
        place.mkdir()
    assert router.run() == 0


def test_accept_brings_the_octets_of_each_file_in_one_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(daemon.client, "show", lambda _program, _path, command, _text: asked.append(command) or 0)
    (tmp_path / "r1.cose").write_bytes(b"one")
    (tmp_path / "r2.cose").write_bytes(b"another")
    files = [str(tmp_path / name) for name in ("r1.cose", "r2.cose")]
    assert daemon.main(["accept", *files, "--socket", "lks.sock"]) == 0
    (command,) = asked
    word, *documents = command.split()
    assert word == "accept" and [base64.b64decode(each) for each in documents] == [b"one", b"another"]
    assert daemon.main(["accept", files[0], str(tmp_path / "none"), "--socket", "lks.sock"]) == 2
    assert len(asked) == 1 and "No such file" in capsys.readouterr().err
