"""Headings, axes and legends say from what to what a time goes; `never` is no word for what was not measured."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.absent import ABSENT, LEGEND, NEVER, UNAFFECTED, is_span, missing
from testbed.analysis.measures import Adjacencies, RequestCounts
from testbed.analysis.multicast import LOST
from testbed.analysis.run import Run
from testbed.cli.run import print_summary
from testbed.report.write import write_report
from testbed.runner import experiment
from testbed.runner.experiment import Measures, Table
from testbed.runner.summarise import summarise

UP = Adjacencies(8, 8)

Build = Callable[..., Run]
NAMES = [name for name in experiment.names() if name != "effort"]
"""effort counts, and measures nothing in seconds."""


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_names_its_span_from_what_to_what(name: str) -> None:
    found = experiment.find(name)
    assert is_span(f"{found.main.name}, s") and "convergence" not in found.main.name
    assert found.main.since and found.main.until and found.restored and found.requests_since
    assert len(found.main.name) <= 40, "a heading"


def test_no_two_experiments_mean_two_spans_by_one_name() -> None:
    spans = {experiment.find(name).main for name in NAMES}
    assert len({span.name for span in spans}) == len({(span.since, span.until) for span in spans})


@pytest.mark.parametrize("name", NAMES)
def test_series_of_seconds_in_an_experiments_file_say_from_what_to_what(name: str) -> None:
    """What is named otherwise is a length of time that has no beginning and no end."""
    lengths = ("data lost in", "bound, ", "wait that the DKS asks for")
    text = (experiment.FOLDER / f"{name}.py").read_text()
    for series in re.findall(r'"([^"\n]*, s)"', text):
        assert is_span(series) or series.startswith(lengths), series


def summary(*runs: Measures, name: str = "link_cut", **more: list[Measures]) -> dict[str, Any]:
    """Of runs with lks, or of those given by keying mode."""
    found = experiment.find(name)
    about = {
        "topology": "ring-4", "routers": 4, "kernel": "virtual", "command": "./lab run", "seeds": [1], "provenance": {},
    }  # fmt: skip
    from testbed.runner.execute import Outcome

    measures = more or {"lks": list(runs)}
    outcomes = [
        Outcome(keying, seed, Path(f"{keying}-{seed}"), "done", 1.0, 1.0)
        for keying, mine in measures.items()
        for seed in range(1, len(mine) + 1)
    ]
    return summarise(found, outcomes, measures, about)


def test_a_summary_shows_what_its_times_and_counts_are_of(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    print_summary(summary(Measures(1.0, UP, RequestCounts(3, 3, 0, 1))), tmp_path)
    out = capsys.readouterr().out
    assert "carrier loss to routes right: from the loss of the carrier at both ends of the link to the last" in out
    assert "DKS requests: datagrams that reach the DKS, from the first cut to the end of the run" in out
    assert LEGEND in out and "convergence" not in out.lower()


def test_what_was_not_measured_is_a_dash_and_what_never_came_is_never(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = summary(Measures(None, Adjacencies(8, 6), extra={"cut to healed, s": None, "lost, %": None}))
    print_summary(made, tmp_path)
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("lks"))
    between, unmeasured = [ABSENT, ABSENT], [ABSENT, ABSENT]
    assert re.split(r"  +", row.strip()) == ["lks", "1", NEVER, *between, ABSENT, "6 of 8", *unmeasured]
    assert made["keyings"]["lks"]["dks_requests"]["total"] == [None]
    assert (missing("cut to healed, s"), missing("lost, %"), missing("bound, s")) == (NEVER, ABSENT, ABSENT)


def test_page_figures_and_table_take_their_headings_from_the_experiment(build: Build, tmp_path: Path) -> None:
    made = summary(Measures(1.0, UP, extra={"cut to healed, s": None}), Measures(2.0, UP, extra={}))
    write_report(tmp_path, made, [build("lks", 1)])
    page = (tmp_path / "report.html").read_text()
    assert "Carrier loss to routes right: from the loss of the carrier at both ends" in page
    assert "from the first cut to the end of the run" in page and LEGEND in page
    assert not re.search(r">[^<]*[Cc]onvergence", page)
    assert "Time from the loss of the carrier at both ends" in page
    (values,) = csv.DictReader((tmp_path / "summary.csv").read_text().splitlines())
    assert values["measured"] == "carrier loss to routes right" and values["requests_counted_from"] == "the first cut"
    assert json.dumps(made)  # as summary.json


def heard(*seconds: float | None) -> list[Measures]:
    return [Measures(9.0, UP, extra={"carrier loss to all receivers hear, s": each, LOST: 3}) for each in seconds]


def test_a_span_of_nothing_is_not_told_as_a_fast_one(
    capsys: pytest.CaptureFixture[str], build: Build, tmp_path: Path
) -> None:
    made = summary(lks=heard(0.0, 0.0), none=heard(0.0, 0.0))
    print_summary(made, tmp_path)
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if line.startswith(("lks", "none"))][2:]
    assert all(UNAFFECTED in each and "0.00" not in each for each in rows)
    assert UNAFFECTED in next(line for line in out.splitlines() if line.startswith("never:"))
    write_report(tmp_path, made, [build("lks", 1), build("none", 1)])
    assert (tmp_path / "report.html").read_text().count(UNAFFECTED) >= 2
    assert UNAFFECTED in (tmp_path / "figures" / "convergence.svg").read_text()


def test_multicast_stands_beside_the_main_span_in_tables_figures_and_legend(
    capsys: pytest.CaptureFixture[str], build: Build, tmp_path: Path
) -> None:
    made = summary(lks=heard(2.0, None), none=heard(4.0, 8.0))
    print_summary(made, tmp_path)
    out = capsys.readouterr().out
    rows = [re.split(r"  +", line.strip()) for line in out.splitlines() if line.startswith(("lks", "none"))]
    # cells of the second table: the spans of both modes, and what was measured of neither
    assert rows[2:] == [
        ["lks", "2.00", ABSENT, ABSENT, "1", ABSENT, ABSENT, ABSENT, "3", ABSENT],
        ["none", "6.00", ABSENT, ABSENT, "0", "1.000", ABSENT, ABSENT, "3", ABSENT],
    ]
    assert (
        "carrier loss to all receivers hear: from the loss of the carrier at both ends of the link to the last" in out
    )
    write_report(tmp_path, made, [build("lks", 1), build("none", 1)])
    page = (tmp_path / "report.html").read_text()
    assert "Carrier loss to all receivers hear: from the loss of the carrier at both ends" in page
    assert "Below, in the same way, multicast" in page


def test_a_summary_without_streams_says_nothing_of_multicast(
    capsys: pytest.CaptureFixture[str], build: Build, tmp_path: Path
) -> None:
    made = summary(lks=[Measures(1.0, UP)], name="long_way")
    print_summary(made, tmp_path)
    write_report(tmp_path, made, [build("lks", 1)])
    assert "ulticast" not in capsys.readouterr().out + (tmp_path / "report.html").read_text()


def test_multicast_is_judged_as_the_routes_are() -> None:
    found = experiment.find("link_cut")

    def judged(ours: list[float | None], none: list[float | None]) -> list[bool]:
        return [each.ok for each in found.hears_in_time(Table({"lks": heard(*ours), "none": heard(*none)}), "lks")]

    assert judged([10.9, 11.0, 49.0], [10.0, 10.0, 50.0]) == [True]
    assert judged([11.1, 11.1, 1.0], [10.0, 10.0, 50.0]) == [False]
    assert judged([0.4], [0.2]) == [True], "one packet more"
    assert judged([1.0, None], [10.0, 10.0]) == [False]
    assert found.hears_in_time(Table({"lks": heard(1.0)}), "lks") == []
