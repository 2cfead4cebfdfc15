"""The whole report, from invented runs."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from testbed.analysis.run import Run
from testbed.report import style
from testbed.report.convergence import draw_extra
from testbed.report.drawing import Drawing
from testbed.report.style import FORMATS
from testbed.report.write import write_report
from testbed.topology.resolved import Topology

Build = Callable[..., Run]
Summarize = Callable[..., dict[str, Any]]
NEVER = {"none": [14.0, 15.5], "central": [None, None], "lks": [14.5, None]}


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Page(HTMLParser):
    """The tags, ids, references and words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href", "action", "data", "srcset"):
                self.references.append(value or "")

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture
def storm(build: Build, summarize: Summarize) -> tuple[dict[str, Any], list[Run]]:
    return summarize(NEVER), [build(keying, 1) for keying in NEVER]


@pytest.fixture(scope="module")
def written(build: Build, summarize: Summarize, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a storm, for tests that only read it."""
    folder = tmp_path_factory.mktemp("report")
    runs = [build(keying, seed, stuck=keying == "central") for keying in NEVER for seed in (1, 2)]
    write_report(folder, summarize(NEVER), runs, drawing=Drawing(FORMATS))
    return folder


def test_it_writes_the_table_the_page_and_each_figure_for_screen_and_print(written: Path) -> None:
    first, second = ([f"timeline-{keying}{seed}" for keying in NEVER] for seed in ("", "-2"))
    printed = ["convergence", "ecdf", "requests", *first]
    figures = [f"figures/{name}.{kind}" for name in printed for kind in ("pdf", "png", "svg")]
    figures += [f"figures/{name}.svg" for name in second]
    assert sorted(digests(written)) == sorted([*figures, "report.html", "summary.csv"])


def test_the_same_input_gives_the_same_bytes_whatever_the_user_has_set(storm: Any, tmp_path: Path) -> None:
    summary, runs = storm
    write_report(tmp_path / "one", summary, runs, drawing=Drawing(FORMATS))
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.grid": True}):
        write_report(tmp_path / "two", summary, [Run(run.folder) for run in runs], drawing=Drawing(FORMATS))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_no_file_says_when_it_was_made(written: Path) -> None:
    for path in [*written.glob("figures/*"), written / "report.html"]:
        assert not re.search(rb"dc:date|tIME|Software|20\d\d-\d\d-\d\d", path.read_bytes()), path


def test_the_page_asks_nobody_for_anything(written: Path) -> None:
    text = (written / "report.html").read_text()
    page = Page(text)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed"}
    assert {each for each in page.references if not each.startswith("#")} == {"view.html"}, "the run view beside it"
    assert "://" not in text and "@import" not in text and not re.search(r"url\((?!#)", text)


def test_no_two_figures_of_the_page_share_an_id_and_every_reference_is_there(written: Path) -> None:
    text = (written / "report.html").read_text()
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    wanted = {reference[1:] for reference in page.references if reference.startswith("#")} | set(
        re.findall(r"url\(#([^)]*)\)", text)
    )
    assert wanted and wanted <= set(page.ids)


def test_the_page_says_verdict_findings_command_and_limits(storm: Any, tmp_path: Path) -> None:
    summary, _ = storm
    summary["ok"] = False
    summary["criteria"].append({"keying": "central", "text": "comes back", "value": "0 of 8", "ok": False})
    summary["keyings"]["central"]["reasons"] = ["8 adjacencies stayed down"]
    write_report(tmp_path, summary, [])
    words = Page((tmp_path / "report.html").read_text()).words
    for said in ("Not every criterion is met", "0 of 8", "8 adjacencies stayed down", "central keying deadlocks."):
        assert said in words
    assert summary["command"] in words and summary["shows_not"] in words and "sha256 plan.json" in words


def test_a_failed_run_is_not_called_an_unmet_criterion(storm: Any, tmp_path: Path) -> None:
    summary, _ = storm
    write_report(tmp_path, {**summary, "ok": False}, [])
    words = Page((tmp_path / "report.html").read_text()).words
    assert "Not every run counts" in words and "Not every criterion" not in words


def test_names_and_sentences_are_escaped(storm: Any, tmp_path: Path) -> None:
    summary, _ = storm
    evil = "<script>alert(1)</script> & 'x'"
    summary |= {"title": evil, "question": evil, "command": evil, "topology": evil, "findings": [evil]}
    summary["provenance"] = {evil: {evil: evil}}
    write_report(tmp_path, summary, [])
    page = Page((tmp_path / "report.html").read_text())
    assert "script" not in page.tags
    assert page.words.count(evil) >= 6


def test_runs_that_never_converged_are_counted_in_table_and_page(written: Path) -> None:
    rows = {row["keying"]: row for row in csv.DictReader((written / "summary.csv").open())}
    assert {key: row["runs_not_converged"] for key, row in rows.items()} == {"none": "0", "central": "2", "lks": "1"}
    assert rows["central"]["convergence_median_s"] == ""
    assert rows["none"]["convergence_max_s"] == "15.5"
    assert "(central 2, lks 1)" in Page((written / "report.html").read_text()).words


def test_a_mode_of_which_no_criterion_speaks_is_not_judged(written: Path) -> None:
    rows = {row["keying"]: row["verdict"] for row in csv.DictReader((written / "summary.csv").open())}
    assert rows == {"none": "not judged", "central": "not met", "lks": "not met"}


def test_one_keying_mode_and_one_seed_are_enough(build: Build, summarize: Summarize, tmp_path: Path) -> None:
    write_report(tmp_path / "out", summarize({"lks": [14.0]}), [build("lks", 7)])
    assert (tmp_path / "out/figures/timeline-lks.svg").exists()


def test_a_mode_whose_every_run_failed_stands_in_the_table(build: Build, summarize: Summarize, tmp_path: Path) -> None:
    write_report(tmp_path / "out", summarize({"none": [14.0], "lks": []}), [build("none", 1)])
    rows = list(csv.DictReader((tmp_path / "out/summary.csv").open()))
    assert [row["keying"] for row in rows] == ["none", "lks"]
    assert not (tmp_path / "out/figures/timeline-lks.svg").exists()


def test_a_summary_without_any_run_still_makes_a_page(summarize: Summarize, tmp_path: Path) -> None:
    write_report(tmp_path, summarize({}, criteria=[], findings=[], runs=[]), [])
    assert "judges nothing" in Page((tmp_path / "report.html").read_text()).words


def test_further_series_get_a_figure_rows_and_columns(build: Build, summarize: Summarize, tmp_path: Path) -> None:
    summary = summarize({"none": [14.0, 15.0], "lks": [14.0, 15.0]})
    summary["keyings"]["lks"]["extra"] = {"loss_s": [0.25, 0.75], "blackhole, s": [None, 41]}
    write_report(tmp_path / "out", summary, [build("lks", 1)])
    assert (tmp_path / "out/figures/extra.svg").exists()
    rows = {row["keying"]: row for row in csv.DictReader((tmp_path / "out/summary.csv").open())}
    assert rows["lks"]["loss_s (median)"] == "0.5" and rows["lks"]["blackhole, s (n)"] == "1"
    assert rows["none"]["loss_s (median)"] == ""
    assert "loss (s)" in Page((tmp_path / "out/report.html").read_text()).words


def test_a_keying_mode_nobody_knows_gets_a_safe_file_name(build: Build, summarize: Summarize, tmp_path: Path) -> None:
    run = build("new-mode 2", 1)
    write_report(tmp_path / "out", summarize({"new-mode 2": [14.0]}), [run])
    assert (tmp_path / "out/figures/timeline-new-mode_2.svg").exists()


def test_a_topology_of_many_adjacencies_can_be_drawn(build: Build, summarize: Summarize, tmp_path: Path) -> None:
    run = build("none", 1, topology=Topology.load("ring:80"))
    write_report(tmp_path / "out", summarize({"none": [14.0]}), [run])
    assert (tmp_path / "out/figures/timeline-none.svg").stat().st_size > 20_000


def test_the_requests_of_the_first_minute_have_a_figure_and_a_column_where_they_were_measured(
    storm: Any, tmp_path: Path
) -> None:
    summary, runs = storm
    minute = {"median": 84.0, "low": 80.0, "high": 90.0, "p25": 82.0, "p75": 88.0, "n": 2, "values": [80.0, 88.0]}
    summary["keyings"]["lks"]["requests_first_60s"] = minute
    write_report(tmp_path, summary, runs)
    assert (tmp_path / "figures/requests-first-60s.svg").exists()
    assert "84 (80–88)" in Page((tmp_path / "report.html").read_text()).words
    (row,) = [row for row in csv.DictReader((tmp_path / "summary.csv").open()) if row["keying"] == "lks"]
    assert row["dks_requests_first_60s_median"] == "84"


def test_no_panel_title_runs_into_another_or_out_of_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr("testbed.report.convergence.save", lambda made, *_: kept.append(made))
    long = {f"routers of the {n}th half without the new policy when it healed": [0.0, 1.0] for n in range(4)}
    summary = {"keyings": {keying: {"extra": long} for keying in ("dks-lks", "lks")}}
    with style.figure(1, 1, "settings"):  # what is measured is measured under the settings that it is drawn with
        assert draw_extra(tmp_path, summary)
        (made,) = kept
        made.canvas.draw()
        boxes = [panel._left_title.get_window_extent() for panel in made.axes]
    assert all(box.x1 <= made.bbox.x1 for box in boxes)
    assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[n + 1 :])
