"""The table of a summary is read in any terminal: no word of it is folded, and what does not fit is named."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from testbed.cli.console import folded, show
from testbed.cli.run import Progress, print_summary
from testbed.cli.table import table_of, time_of
from testbed.record.summary import FILE, UNNAMED, read_summary
from testbed.runner.execute import Outcome
from testbed.runner.reproduce import RESULTS
from testbed.setup.paths import PROJECT

MODES = ("none", "native", "manual", "central", "central-mgmt", "dks-lks", "lks")
NAME = "first boot to routes right"


def row(median: float | None = 13.68, *, lost: int = 0, minute: bool = True) -> dict[str, Any]:
    values = [median] * (5 - lost) + [None] * lost
    times = {"values": values, "median": median, "low": median and 13.25, "high": median and 13.87}
    return {
        "n": 5, "convergence_s": times, "ratio_to_none": 0.992, "adjacencies": {"restored": [28] * 5, "expected": 28},
        "dks_requests": {"total": [0] * 5, "before_first_scheduled_reconnection": [126] * 5},
        **({"requests_first_60s": {"median": 93}} if minute else {}),
    }  # fmt: skip


def summary(**rows: dict[str, Any]) -> dict[str, Any]:
    main = {"name": NAME, "since": "a", "until": "b"}
    return {
        "measured": {**UNNAMED, "main": main, "restored": "adjacencies up at the end"}, "title": "A power failure",
        "topology": "abilene", "routers": 11, "seeds": [1, 2, 3, 4, 5], "criteria": [], "findings": [], "runs": [],
        "keyings": rows or {mode: row() for mode in MODES},
    }  # fmt: skip


def printed(columns: int, of: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_summary(of, Path("out"))
    return list(capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("columns", [20, 30, 40, 60, 80, 100, 150])
def test_no_word_is_folded_and_what_does_not_fit_is_named(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(columns, summary(), monkeypatch, capsys)
    words = " ".join(lines).split()
    assert [line.split()[0] for line in lines if re.match(r"\S+ .*13\.68", line)] == list(MODES)
    assert "…" not in "".join(lines) and "report.html" in "".join(words)
    table = lines[lines.index("") + 1 :]
    table = table[: table.index("")]
    assert max(map(len, table)) <= max(columns, 28)
    told = [line for line in lines if line not in table and not line.startswith("report")]
    assert max(map(len, told)) <= columns
    for number in ("0.992", "13.25", "126"):
        missing = {"0.992": "× none", "13.25": "95 % from", "126": "before first scheduled"}[number]
        left_out = " ".join(words).partition("left out on this narrow")[2]
        assert (number in words) != (missing in left_out)


def test_eighty_columns_have_the_interval_in_columns_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(80, summary(), monkeypatch, capsys)
    (line,) = [line for line in lines if line.startswith("central-mgmt")]
    assert re.split(r"  +", line.strip())[:6] == ["central-mgmt", "5", "13.68", "13.25", "13.87", "0.992"]


@pytest.mark.parametrize("name", sorted(str(path.parent.relative_to(RESULTS)) for path in RESULTS.rglob(FILE)))
def test_every_experiments_table_is_readable_at_eighty_columns_without_a_folded_word(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def words(lines: list[str]) -> set[str]:
        return {word.rstrip(";") for word in " ".join(lines).split() if word.strip("─")}

    kept = read_summary(RESULTS / name)
    lines, unfolded = (printed(columns, kept, monkeypatch, capsys) for columns in (80, 10_000))
    left_out = "left out on this narrow terminal, in report.html:"
    assert words(lines) <= words(unfolded) | words([left_out])
    assert [line for line in lines if len(line) > 80 and not line.startswith("report")] == []
    assert all(any(line.startswith(f"{row} ") for line in lines) for row in kept["keyings"]), "each name is whole"


def test_runs_that_never_came_have_a_column_where_others_did(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(100, summary(none=row(lost=2), central=row(None), lks=row()), monkeypatch, capsys)
    found = {line.split()[0]: re.split(r"  +", line.strip()) for line in lines if re.match("none|central|lks", line)}
    assert [found[mode][5] for mode in ("none", "central", "lks")] == ["2", "5", "0"]
    assert found["central"][2:5] == ["never", "-", "-"]
    assert time_of(row(lost=2)) == "13.68 s (13.25 to 13.87), 2 never" and time_of(row(None)) == "never"


def test_a_mode_without_a_run_yet_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    table, _ = table_of(summary(lks=row()), 80, MODES)
    show(table)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[-7:]] == list(MODES) and [len(line) for line in lines[-7:-1]] == [1] * 6


def test_a_table_folds_sentences_before_numbers_and_no_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table()
    for heading in ("measure", "medians", "verdict"):
        table.add_column(heading, justify="right" if heading == "medians" else "left")
    table.add_row("boot to first adjacency of the central-mgmt kind, s", "10.0782 → 10.0782", "no difference shown")
    monkeypatch.setenv("COLUMNS", "60")
    show(table)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 60 and "10.0782 → 10.0782" in text
    monkeypatch.setenv("COLUMNS", "30")
    show(table)
    assert {"central-mgmt", "10.0782", "difference", "adjacency"} <= set(capsys.readouterr().out.split())


def test_lines_are_folded_for_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "found   " + "central-mgmt " * 20
    monkeypatch.delenv("COLUMNS", raising=False)
    assert folded(text) == text
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, folded(text).splitlines())) <= 40 and folded(text).split() == text.split()


def test_without_a_terminal_each_run_is_a_line_with_its_modes_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    told = Progress(("none", "lks"))
    told.so_far(summary(none=row()))
    told(Outcome("none", 1, Path("x"), "done", 2.0, 300.0), 1, 4)
    told.so_far(summary(none=row(), lks=row()))
    told(Outcome("lks", 1, Path("x"), "done", 2.0, 300.0), 2, 4)
    told(Outcome("none", 2, Path("x"), "exit code 1", 2.0, 0.0), 3, 4)
    said = capsys.readouterr().err
    lines = said.splitlines()
    assert "\x1b" not in said and "\r" not in said
    assert lines[0].startswith("[1/4] none, seed 1: 300 s in 2 s; so far 13.68 s (13.25 to 13.87); about")
    assert "[3/4] none, seed 2: FAILED: exit code 1; about" in lines[-1]
    assert [line.split()[0] for line in lines if "0.992" in line] == ["none", "lks"], "the first complete table"


WATCHED = """
from pathlib import Path
from testbed.cli.run import following
from testbed.runner.execute import Outcome
from testbed.runner.reproduce import RESULTS
from tests.unit.cli.test_table import row, summary
with following(("none", "lks")) as told:
    for done, mode in enumerate(("none", "lks"), 1):
        told.so_far(summary(**{each: row() for each in ("none", "lks")[:done]}))
        told(Outcome(mode, 1, Path("x"), "done", 2.0, 300.0), done, 2)
"""


@pytest.mark.parametrize(("more", "filled"), [({}, True), ({"NO_COLOR": "1"}, True), ({"TERM": "dumb"}, False)])
def test_a_terminal_has_a_table_that_fills(more: dict[str, str], filled: bool) -> None:
    reader, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **more}
    program = [sys.executable, "-c", WATCHED]
    with subprocess.Popen(program, cwd=PROJECT, env=environment, stdout=terminal, stderr=terminal) as child:
        os.close(terminal)
        seen = io.BytesIO()
        try:
            while data := os.read(reader, 65536):
                seen.write(data)
        except OSError:  # nobody has the terminal any more
            pass
        assert child.wait() == 0
    os.close(reader)
    text = seen.getvalue().decode()
    assert ("\x1b[" in text) == filled and "central" not in text
    assert text.count("13.25") >= (3 if filled else 2) and "Traceback" not in text
    assert not re.search(r"\x1b\[[0-9;]*3\d", text) or not more, "a colour in spite of NO_COLOR"
