"""A small experiment on both clocks, from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from testbed.setup.paths import PROJECT

SHORT = '''\
"""How long until two routers know each other's routes?"""

from testbed.analysis import adjacency
from testbed.analysis.convergence import converged_at
from testbed.analysis.run import NS
from testbed.runner.experiment import Experiment, Measures, step


class Short(Experiment):
    name = title = question = method = "short"
    topology, keyings, seeds, duration_s = "line:2", ("none",), 1, 25.0

    def timeline(self, topology, rng):
        return [step(20, "mark", name="late")]

    def measure(self, run):
        (ready,) = run.where("lab", "ready")
        right = converged_at(run.plan.topology, run.events, run.expected())
        return Measures(None if right is None else (right - ready["t"]) / NS, adjacency.at_end(
            run.plan.topology, run.events))
'''


def lab(*words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "testbed.cli", *map(str, words)]
    return subprocess.run(argv, cwd=PROJECT, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)


def test_the_real_clock_takes_real_time_and_stands_beside_virtual_time_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "short.py").write_text(SHORT)
    out = tmp_path / "out"
    assert lab("run", tmp_path / "short.py", "--out", out).returncode == 0
    done = lab("calibrate", out, "--json")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    (row,) = json.loads(done.stdout)
    assert row["n"] == [1, 1] and row["virtual"] is not None and row["real"] is not None
    (outcome,) = (out / "calibration").glob("runs/*/outcome.json")
    assert json.loads(outcome.read_text())["wall_s"] > 25
    assert json.loads((out / "summary.json").read_text())["calibration"] == [row]
    assert "On the real clock" in (out / "report.html").read_text()
