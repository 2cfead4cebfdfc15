"""The events file: one that cannot be opened is told before an agent begins."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from agents.dks import daemon as dks
from agents.lks import daemon as lks
from agents.runtime.drops import EACH, OTHERS, WINDOW_S
from agents.runtime.effects import Event
from agents.runtime.events import KINDS, EventLog
from agents.runtime.settings import ConfigError

COMMON = 'name = "x"\ndomain = "d"\nidentity = "i"\npolicy_server_key = "p"\nstate_dir = "s"\n'


@pytest.mark.parametrize("main, more", [(lks.main, ""), (dks.main, 'documents = "docs"\n')])
@pytest.mark.parametrize("events", ["nowhere/events", ".", "pipe"])
def test_an_agent_whose_events_file_cannot_be_opened_says_so_and_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], main: object, more: str, events: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    config = tmp_path / "x.toml"
    config.write_text(f'{COMMON}{more}events = "{events}"\n')
    assert main(["run", "--config", str(config)]) == 2  # type: ignore[operator]
    assert "events cannot be written there" in capsys.readouterr().err and not (tmp_path / "s").exists()


def test_a_pipe_that_nobody_reads_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError):
        EventLog(tmp_path / "pipe", "r1")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_peer_that_makes_an_error_with_each_request_fills_no_event_log_and_is_counted(
    tmp_path: Path, clock: list[float]
) -> None:
    log = EventLog(tmp_path / "e", "r1")
    for number in range(1000):
        log.write(Event("error", {"what": "revocation", "peer": "r3", "detail": f"no list: {number}"}))
    log.write(Event("error", {"what": "revocation", "peer": "r2", "detail": "another's"}))
    log.write(Event("keyed", {"neighbor": "r3"}))
    told = lines(tmp_path / "e")
    assert [each["detail"] for each in told[:EACH]] == [f"no list: {number}" for number in range(EACH)]
    assert [each.get("peer") for each in told[EACH:]] == ["r2", None], "others' errors and other events are told"
    clock[0] += WINDOW_S
    log.write(Event("keyed", {"neighbor": "r2"}))
    assert lines(tmp_path / "e")[-2].items() >= {"what": "revocation", "peer": "r3", "suppressed": 1000 - EACH}.items()
    log.write(Event("error", {"what": "revocation", "peer": "r3", "detail": "again"}))
    assert lines(tmp_path / "e")[-1]["detail"] == "again"


def test_errors_of_very_many_kinds_are_bounded_too(tmp_path: Path, clock: list[float]) -> None:
    log = EventLog(tmp_path / "e", "r1")
    for number in range(3 * KINDS):
        log.write(Event("error", {"what": "registration", "group": f"g{number}"}))
    assert len(lines(tmp_path / "e")) == KINDS + EACH
    clock[0] += WINDOW_S
    log.write(Event("keyed", {}))
    assert [each["what"] for each in lines(tmp_path / "e") if "suppressed" in each] == [OTHERS]
