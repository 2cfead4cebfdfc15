"""What a summary and a sweep say of the time that runs took."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.cli.run import pace, print_summary
from testbed.cli.sweep import _print
from testbed.record.summary import UNNAMED
from testbed.runner.experiment import Span
from testbed.runner.sweep import Swept

RUNS = [{"virtual_s": 300.0, "wall_s": wall_s} for wall_s in (2.0, 3.0, 150.0)]


def test_pace_is_of_medians_and_survives_a_run_that_took_no_time() -> None:
    assert pace(RUNS) == ("300", "3.0", "100.0")
    assert pace([{"virtual_s": 300.4, "wall_s": 142.6}]) == ("300", "143", "2.1")
    assert pace([{"virtual_s": 1.0, "wall_s": 0.0}])[2] == "100.0"


def test_a_summary_tells_the_pace_of_every_mode_that_has_finished_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    row = {
        "n": 1, "convergence_s": {"values": [1.0], "median": 1.0, "low": None, "high": None}, "ratio_to_none": None,
        "dks_requests": {"total": [0], "before_first_scheduled_reconnection": [0]},
        "adjacencies": {"restored": [2], "expected": 2},
    }  # fmt: skip
    runs = [{"keying": "lks", "status": "done", **RUNS[0]}, {"keying": "none", "status": "no guest", **RUNS[0]}]
    summary = {
        "measured": UNNAMED, "title": "t", "topology": "ring", "routers": 2, "seeds": [1], "criteria": [],
        "keyings": {"none": row, "lks": row}, "findings": [], "runs": runs,
    }  # fmt: skip
    print_summary(summary, tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("pace")]
    assert lines == ["pace    lks: 300 s in 2.0 s of wall time, 150.0 × real time"]


def test_a_sweep_has_the_pace_of_every_cell(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [{"topology": "ring:4", "convergence_s": 10.0, **each} for each in RUNS]
    rows.append({"topology": "ring:50", "convergence_s": None, "virtual_s": 303.0, "wall_s": 143.0})
    _print(Swept(tmp_path, rows, ()), ["topology"], Span("boot to routes right", "the boot", "the end"))
    out = capsys.readouterr().out
    small, large = (next(line for line in out.splitlines() if name in line) for name in ("ring:4", "ring:50"))
    assert "3.0" in small and "100.0" in small
    assert "boot to routes right, s" in " ".join(out.split()) and "from the boot to the end" in out
    assert "303" in large and "143" in large and "2.1" in large and "never" in large
