"""Results come run by run: each mode's first seed first, a report of whole seeds, and Ctrl-C keeps what is done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.errors import Interrupted
from testbed.record.plan import Plan
from testbed.runner import execute, session
from testbed.runner.execute import Outcome, shuffled
from testbed.runner.experiment import find
from testbed.setup.paths import PROJECT
from tests.unit.results import made

REQUEST = session.Request("power_cycle", topology="ring:4", keyings=made.KEYINGS, seeds=made.SEEDS)
Told = list[tuple[str, int]]


@pytest.fixture
def prepared() -> session.Prepared:
    return session.prepare(find("power_cycle"), REQUEST, made.RING)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function after which runs end at once, those of `broken` badly."""

    def install(*broken: tuple[str, int]) -> None:
        def play_one(plan: Plan, folder: Path, *_: Any) -> Outcome:
            own = made.run(folder, plan.keying, plan.seed, 15.0 + plan.seed)
            if (plan.keying, plan.seed) in broken:
                return Outcome(plan.keying, plan.seed, own, "exit code 1", 1.0, 0.0)
            return execute.outcome_of(own)

        monkeypatch.setattr(execute, "play_one", play_one)

    return install


def test_every_first_seed_is_played_before_any_second_and_modes_are_shuffled_within_a_seed() -> None:
    seeds = [seed for seed in (7, 3, 5) for _mode in range(6)]
    order = shuffled(seeds)
    assert sorted(order) == list(range(18))
    assert [seeds[index] for index in order] == seeds
    modes = [[index % 6 for index in order[start : start + 6]] for start in (0, 6, 12)]
    assert all(sorted(each) == list(range(6)) != each for each in modes) and len(set(map(tuple, modes))) == 3
    assert shuffled(seeds) == order


def test_the_table_grows_run_by_run(tmp_path: Path, prepared: session.Prepared, ended: Callable[..., None]) -> None:
    ended(("lks", 2))
    counts: list[dict[str, int]] = []
    session.run(
        session.Request(**{**vars(REQUEST), "out": tmp_path / "out"}), lambda *_: None, prepared,
        lambda table: counts.append({name: row["n"] for name, row in table["keyings"].items()}),
    )  # fmt: skip
    assert [sum(each.values()) for each in counts] == [1, 2, 3]
    assert counts[1] == {"none": 1, "lks": 1} and counts[2] == {"none": 2, "lks": 1}


def test_there_is_a_report_with_figures_after_the_first_run_of_each_mode(
    tmp_path: Path, prepared: session.Prepared, ended: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended()
    monkeypatch.setattr(session, "ANEW_S", 0.0)
    seen: list[tuple[int, Any]] = []

    def told(_outcome: Outcome, done: int, _of: int) -> None:
        summary = tmp_path / "summary.json"
        seen.append((done, json.loads(summary.read_text()).get("partial") if summary.exists() else None))
        if seen[-1][1]:
            page = (tmp_path / "report.html").read_text()
            assert 'id="convergence"' in page and 'id="timeline-lks"' in page and "2 of 4 runs" in page

    done = session.run(session.Request(**{**vars(REQUEST), "out": tmp_path}), told, prepared)
    assert seen == [(1, None), (2, None), (3, {"done": 2, "of": 4}), (4, {"done": 2, "of": 4})]
    assert "partial" not in done.summary and done.summary["seeds"] == [1, 2]
    assert "have ended" not in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "summary.json").read_text()) == done.summary


def test_reports_on_the_way_take_a_twentieth_of_the_time_of_the_runs_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, run_s, report_s, reports = 0.0, 30.0, 12.0, list[int]()

    def play_one(plan: Plan, folder: Path, *_: Any) -> Outcome:
        return Outcome(plan.keying, plan.seed, folder / plan.keying, "done", run_s, 0.0)

    def told(*_: Any) -> None:
        nonlocal now_s
        now_s += run_s

    def conclude(_self: Any, outcomes: Any, *_: Any, **__: Any) -> dict[str, Any]:
        nonlocal now_s
        now_s += report_s
        reports.append(len(outcomes))
        return {}

    monkeypatch.setattr(execute, "play_one", play_one)
    monkeypatch.setattr(session.InGuests, "conclude", conclude)
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: now_s))
    request = session.Request(**{**vars(REQUEST), "seeds": tuple(range(1, 41)), "out": tmp_path / "out"})
    session.run(request, told)
    *on_the_way, last = reports
    assert on_the_way[0] == 2 and len(on_the_way) > 5 and last == 80, "one of the first seed, one in the end"
    assert all(report_s <= session.SHARE * run_s * (b - a) for a, b in pairwise(on_the_way))


STOPPED = """
import signal, sys
from pathlib import Path
from testbed.cli import main
from testbed.runner import execute
from testbed.setup import all as everything, children
from tests.unit.results import made

everything.make_all = lambda kernel: None

def play_one(plan, folder, *_):
    if (plan.keying, plan.seed) in {played}:
        return execute.outcome_of(made.run(folder, plan.keying, plan.seed))
    with children.started(["sh", "-c", "echo playing >&2; exec tail -f /dev/null"]) as child:
        child.wait()

execute.play_one = play_one
main.main()
"""


def stopped(out: Path, played: Any, *, twice: bool = False) -> tuple[int, str, str]:
    """Exit code and output of a run that gets Ctrl-C when all but what is `played` hangs."""
    words = ["run", "power_cycle", "--topology", "ring:4", "--keying", "none,lks", "--seeds", "2", "--jobs", "2"]
    program = [sys.executable, "-c", STOPPED.replace("{played}", repr(played)), *words, "--out", str(out)]
    with subprocess.Popen(
        program,
        cwd=PROJECT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "80"},
    ) as lab:
        assert lab.stderr is not None and lab.stdout is not None
        heard = ""
        while heard.count("playing") < 2:
            heard += (line := lab.stderr.readline())
            assert line, heard
        lab.send_signal(signal.SIGINT)
        if twice:
            while "stopping" not in heard:
                heard += (line := lab.stderr.readline())
                assert line, heard
            lab.send_signal(signal.SIGINT)
        printed, rest = lab.communicate()
    return lab.returncode, printed, heard + rest


def test_ctrl_c_ends_what_plays_and_reports_what_is_done(tmp_path: Path) -> None:
    code, printed, said = stopped(tmp_path / "out", {("none", 1), ("lks", 1)})
    assert code == 130 and "stopping" in said and "Traceback" not in said
    assert "stopped: 2 of 4 runs" in " ".join(printed.split())
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["partial"] == {"done": 2, "of": 4} and summary["seeds"] == [1]
    assert sorted(run["keying"] for run in summary["runs"]) == ["lks", "none"]
    assert "2 of 4 runs" in (tmp_path / "out/report.html").read_text()
    assert not [path for path in (tmp_path / "out").rglob("*.new")]


def test_a_second_ctrl_c_ends_at_once_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    code, printed, said = stopped(tmp_path / "out", {("none", 1), ("lks", 1)}, twice=True)
    assert code == 130 and "Traceback" not in said
    # The second one may come when the report of the first is written already.
    assert ("interrupted" in said and "report" not in printed) or "stopped: 2 of 4 runs" in " ".join(printed.split())
    for path in (tmp_path / "out").rglob("*.json"):
        json.loads(path.read_text())
    assert not [path for path in (tmp_path / "out").rglob("*.new")]


def test_ctrl_c_before_anything_is_done_reports_nothing(tmp_path: Path) -> None:
    code, printed, said = stopped(tmp_path / "out", set())
    assert code == 130 and "report" not in printed and "Traceback" not in said
    assert not (tmp_path / "out/summary.json").exists()


def test_a_session_without_a_single_end_is_an_interrupt(
    tmp_path: Path, prepared: session.Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "play", lambda *_, **__: [])
    with pytest.raises(Interrupted):
        session.run(session.Request(**{**vars(REQUEST), "out": tmp_path}), lambda *_: None, prepared)
