"""Figures are drawn in other processes, in the formats that were asked for: the same bytes as those drawn here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.run import Run
from testbed.errors import InputError
from testbed.report.drawing import Drawing, drawing
from testbed.report.style import formats_of
from testbed.report.write import ask_timeline, write_report
from tests.unit.report.test_write import NEVER, digests

Build = Callable[..., Run]
Summarize = Callable[..., dict[str, Any]]


def test_processes_draw_the_same_bytes_as_this_one_and_more_formats_change_none(
    build: Build, summarize: Summarize, tmp_path: Path
) -> None:
    runs = [build("lks", seed) for seed in (1, 2)]
    write_report(tmp_path / "here", summarize(NEVER), runs, drawing=Drawing(("png", "pdf")))
    with drawing(("svg",), 2) as figures:
        ask_timeline(figures, tmp_path / "there", runs[-1], first=False)  # while guests still run
        write_report(tmp_path / "there", summarize(NEVER), runs, drawing=figures)
    here, there = digests(tmp_path / "here"), digests(tmp_path / "there")
    assert here.keys() - there.keys() == {name for name in here if name.endswith((".png", ".pdf"))} != set()
    assert there == {name: here[name] for name in there}


def test_what_was_asked_for_before_is_not_drawn_again(build: Build, tmp_path: Path) -> None:
    figures, run = Drawing(), build("lks", 1)
    name, made = ask_timeline(figures, tmp_path, run, first=True)
    assert (tmp_path / "figures" / f"{name}.svg").exists() and made.done()
    assert ask_timeline(figures, tmp_path, run, first=True)[1] is made
    assert ask_timeline(figures, tmp_path, run, first=False)[1] is not made


def test_a_figure_that_cannot_be_drawn_is_a_flaw_and_the_others_are_there(
    build: Build, summarize: Summarize, tmp_path: Path
) -> None:
    good, bad = build("none", 1), build("lks", 1)
    assert bad.events
    text = (bad.folder / "record.jsonl").read_text()
    (bad.folder / "record.jsonl").write_text(text[:-20])  # after this process has read it
    flaws: list[InputError] = []
    with drawing(("svg",), 1) as figures:
        write_report(tmp_path, summarize({"none": [14.0], "lks": [14.0]}), [good, bad], (), flaws, figures)
    (flaw,) = flaws
    assert "figure timeline-lks cannot be drawn: a damaged line" in flaw.problem and str(bad.folder) in str(flaw.where)
    page = (tmp_path / "report.html").read_text()
    assert 'id="timeline-none"' in page and 'id="timeline-lks"' not in page


def test_a_full_disk_is_no_flaw_of_a_figure(build: Build, summarize: Summarize, tmp_path: Path) -> None:
    (tmp_path / "figures/convergence.svg").mkdir(parents=True)
    with pytest.raises(OSError) as raised, drawing(("svg",), 1) as figures:
        write_report(tmp_path, summarize({"none": [14.0]}), [build("none", 1)], drawing=figures)
    assert raised.value.filename == str((tmp_path / "figures/convergence.svg").resolve())
    assert not list(tmp_path.rglob("*.new"))


def test_another_process_takes_the_place_of_one_that_ended(tmp_path: Path) -> None:
    with drawing(("svg",), 1) as figures:
        assert isinstance(figures.ask("os:_exit", 9).exception(), Exception)
        assert figures.ask("os:getpid").result() != os.getpid()


def test_unknown_formats_are_refused() -> None:
    assert formats_of("png, svg,png") == ("png", "svg")
    for text in ("gif", "", "png,,svg"):
        with pytest.raises(InputError, match="unknown format"):
            formats_of(text)


def test_figures_are_drawn_in_the_folder_where_the_command_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with drawing(("svg",), 1) as made:
        found = made.ask("os:getcwd")
    assert found.result() == str(tmp_path)
