"""The events file: one that cannot be opened is told before an agent begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.dks import daemon as dks
from agents.lks import daemon as lks
from agents.runtime.events import EventLog
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
    assert main(["--config", str(config)]) == 2  # type: ignore[operator]
    assert "events cannot be written there" in capsys.readouterr().err and not (tmp_path / "s").exists()


def test_a_pipe_that_nobody_reads_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError):
        EventLog(tmp_path / "pipe", "r1")
