"""What the daemons tell on standard error, for a journal."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import socket
import time
from pathlib import Path

import pytest

from agents import __version__
from agents.dks import daemon as dks
from agents.lks import daemon as lks
from agents.policy import cli as policy
from agents.policy.domain import Settings
from agents.runtime import notify
from agents.runtime.drops import EACH, WINDOW_S
from agents.runtime.effects import Event
from agents.runtime.events import EventLog
from agents.runtime.journal import Journal, Level
from testbed.setup.paths import PROJECT
from testbed.simulation.network import Network, ring
from testbed.simulation.parties import key


def told(level: Level, *events: Event, as_json: bool = False) -> list[str]:
    """The lines of these events."""
    read, write = os.pipe()
    journal = Journal("lks", level, as_json, write)
    for each in events:
        journal.write(each)
    os.close(write)
    with os.fdopen(read) as lines:
        return lines.read().splitlines()


EVENTS = [Event(kind) for kind in ("error", "closed", "dropped", "keyed", "policy", "sa", "request")]


@pytest.mark.parametrize(
    "level, kinds",
    [
        (Level.ERROR, ["error", "closed"]),
        (Level.WARNING, ["error", "closed", "dropped"]),
        (Level.INFO, ["error", "closed", "dropped", "keyed", "policy"]),
        (Level.DEBUG, ["error", "closed", "dropped", "keyed", "policy", "sa", "request"]),
    ],
)
def test_a_level_tells_what_is_as_urgent_or_more(level: Level, kinds: list[str]) -> None:
    assert [line.split()[3] for line in told(level, *EVENTS)] == kinds


def test_handshakes_of_nobody_are_details_and_those_of_peers_are_told() -> None:
    events = [Event("ike", {"peer": peer, "state": "closed"}) for peer in (None, "r2")]
    assert ["peer=r2" in line for line in told(Level.INFO, *events)] == [True]


def test_a_line_says_when_who_how_urgent_and_what() -> None:
    (line,) = told(Level.INFO, Event("keyed", {"interface": "e0", "neighbor": "r2", "at": None, "ok": True}))
    moment, *rest = line.split()
    assert moment.endswith("Z") and rest == ["lks", "info", "keyed", "interface=e0", "neighbor=r2", "at=-", "ok=yes"]


def test_what_a_peer_chose_stays_on_its_line_and_ends_somewhere() -> None:
    hostile = Event("error", {"detail": "x\n<0>kernel: owned \x1b[2J\u202e", "peer": "a" * 100_000})
    (line,) = told(Level.INFO, hostile)
    assert line.isprintable() and len(line) < 4096
    (line,) = told(Level.INFO, hostile, as_json=True)
    assert json.loads(line)["detail"] == hostile.fields["detail"] and len(line) < 4096


def test_json_lines_have_the_fields_as_they_are() -> None:
    (line,) = told(Level.INFO, Event("policy", {"version": 7, "ok": False}), as_json=True)
    found = json.loads(line)
    assert (found["program"], found["level"], found["kind"]) == ("lks", "info", "policy")
    assert (found["version"], found["ok"]) == (7, False)


def test_a_reader_that_does_not_read_holds_nobody_up_and_is_told_how_much_it_missed() -> None:
    read, write = os.pipe()
    journal = Journal("lks", Level.INFO, False, write)
    for _ in range(5000):
        journal.write(Event("policy", {"detail": "x" * 900}))  # far more than a pipe holds
    missed = 5000 - os.read(read, 1 << 20).count(b"\n")
    assert missed > 0
    journal.write(Event("policy", {"version": 2}))
    lost, policy_line = os.read(read, 1 << 20).decode().splitlines()
    assert f"lost events={missed}" in lost and "policy version=2" in policy_line


def test_the_journal_gets_the_priority_and_no_second_time_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = os.fstat(ours.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        Journal("lks", Level.INFO, False, ours.fileno()).write(Event("closed", {"detail": "no state"}))
        assert theirs.recv(1024) == b'<3>closed detail="no state"\n'


def test_a_closed_descriptor_is_no_error() -> None:
    read, write = os.pipe()
    journal = Journal("lks", Level.INFO, False, write)
    os.close(read)
    os.close(write)
    journal.write(Event("policy"))


def test_events_are_told_without_a_file_and_what_was_said_already_is_not_told_again() -> None:
    read, write = os.pipe()
    log = EventLog(None, "r1", Journal("lks", Level.INFO, False, write))
    log.write(Event("keyed"))
    log.write(Event("error", {"what": "fatal"}), on_stderr=True)
    os.close(write)
    with os.fdopen(read) as lines:
        assert [line.split()[3] for line in lines] == ["keyed"]


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events", "r1")
    log.write(Event("keyed"))
    (tmp_path / "events").rename(tmp_path / "events.1")
    log.write(Event("policy"))
    log.reopen()
    log.write(Event("ended"))
    log.close()
    kinds = [
        [json.loads(line)["kind"] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("events.1", "events")
    ]
    assert kinds == [["keyed", "policy"], ["ended"]]


def test_a_file_that_cannot_be_made_anew_stays_and_that_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    log = EventLog(folder / "events", "r1")
    folder.rename(tmp_path / "away")
    log.reopen()
    log.write(Event("ended"))
    lines = [json.loads(line) for line in (tmp_path / "away" / "events").read_text().splitlines()]
    assert [each["kind"] for each in lines] == ["error", "ended"] and lines[0]["what"] == "events"


@pytest.mark.parametrize("main, name", [(lks.main, "lks"), (dks.main, "dks"), (policy.main, "policy")])
def test_every_program_says_its_version(capsys: pytest.CaptureFixture[str], main: object, name: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])  # type: ignore[operator]
    assert end.value.code == 0 and capsys.readouterr().out.startswith(f"{name} {__version__}")


def test_the_version_is_that_of_the_package() -> None:
    assert f'\nversion = "{__version__}"\n' in (PROJECT / "pyproject.toml").read_text()


@pytest.mark.parametrize("main", [lks.main, dks.main])
@pytest.mark.parametrize("option", [["-v"], ["--log-level", "debug"], ["--log-format", "json"]])
def test_a_question_to_a_running_daemon_takes_no_option_of_its_log(
    capsys: pytest.CaptureFixture[str], main: object, option: list[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["status", *option])  # type: ignore[operator]
    assert end.value.code == 2 and f"status takes no {option[0]}" in capsys.readouterr().err


def test_a_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        notify.ready()
        notify.alive()
        notify.stopping()
        assert [manager.recv(64) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize(
    "usec, pid, every_s",
    [
        ("30000000", None, 15.0),
        ("30000000", "1", None),
        ("nonsense", None, None),
        ("0", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_told_twice_as_often_as_it_looks(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, every_s: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_s() == every_s


def test_how_many_more_there_were_is_told_when_the_next_event_is_no_more_than_a_detail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    read, write = os.pipe()
    log = EventLog(None, "r1", Journal("lks", Level.INFO, False, write))
    for _ in range(EACH + 4):
        log.write(Event("error", {"what": "revocation"}))
    now[0] += WINDOW_S
    log.subscriber = lambda _line: None  # somebody hears details too
    log.write(Event("sa"))
    os.close(write)
    with os.fdopen(read) as lines:
        told = [line.split()[3:] for line in lines]
    assert len(told) == EACH + 1 and "suppressed=4" in told[-1]


def test_no_line_and_no_event_holds_a_secret_however_much_is_told() -> None:
    """Keys of rekeys, handshakes and pairs of a whole domain, in every form in which one could be written."""
    network = Network(ring(3), settings=Settings(validity_s=1 << 33, issuer="lks"), dks=True)
    network.power_on_all()
    assert network.run(2, network.all_keyed)
    for name in ("r1", "r2", "r3"):
        network.command(name, "rekey")
    network.run(700)
    secrets = {sa.keymat for node in network.nodes.values() for _at, kernel in node.kernels for sa in kernel.sas}
    secrets |= {key(name).private_bytes_raw() for name in network.nodes}
    assert len(secrets) > 20
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)
    told = b""
    for as_json in (False, True):
        journal = Journal("lks", Level.DEBUG, as_json, writing)
        for each in network.record.events:
            journal.write(Event(each.kind, each.fields))
            told += os.read(reading, 1 << 20)
    os.close(reading)
    os.close(writing)
    assert told.count(b"\n") > 200
    for secret in secrets:
        half = secret[: len(secret) // 2]
        forms = (secret, half.hex().encode(), base64.b64encode(half)[:-4], repr(half)[2:-1].encode())
        assert not any(form in told for form in forms)
