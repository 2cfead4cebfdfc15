"""Sweeps from end to end: killed and resumed, failures kept apart, on workers, and read back as a table."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.setup.paths import PROJECT

TINY = """\
experiment: recovery_storm
factors:
  topology: ["line:2", "line:3"]
  keying: [none, manual]
seeds: 2
"""


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "testbed.cli", "sweep", *map(str, words)]


def lab(*words: str | Path) -> subprocess.CompletedProcess[str]:
    options = {"cwd": PROJECT, "text": True, "capture_output": True, "stdin": subprocess.DEVNULL}
    return subprocess.run(command(*words), check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A sweep that was killed without warning after its first run, and started again: its file and its folder."""
    folder = tmp_path_factory.mktemp("sweep")
    file, out = folder / "tiny.yaml", folder / "out"
    file.write_text(TINY)
    first = subprocess.Popen(command(file, "--out", out, "--jobs", "1"), cwd=PROJECT, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    assert any("[1/8]" in line for line in first.stderr)  # setting up may say something first
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/outcome.json")}
    assert 1 <= len(before) < 8 and not (out / "results.parquet").exists()
    again = lab(file, "--out", out)
    assert again.returncode == 0, again.stdout + again.stderr[-3000:]
    assert before.items() <= {path: path.stat().st_mtime_ns for path in out.glob("runs/*/outcome.json")}.items()
    return file, out


def test_a_sweep_killed_without_warning_goes_on_where_it_was(swept: tuple[Path, Path]) -> None:
    file, out = swept
    started = time.monotonic()
    done = lab(file, "--out", out, "--json")
    assert json.loads(done.stdout) == {"folder": str(out), "done": 8, "failed": 0}
    assert time.monotonic() - started < 30  # nothing is played again


def test_the_results_are_a_table_with_a_row_a_run_that_polars_and_duckdb_read(swept: tuple[Path, Path]) -> None:
    import duckdb
    import polars

    path = swept[1] / "results.parquet"
    table = polars.read_parquet(path)
    assert len(table) == 8 and table["convergence_s"].is_between(5, 60).all()
    assert polars.read_parquet_metadata(path)["factors"] == "topology,keying"
    assert set(zip(table["topology"], table["keying"], table["seed"], strict=True)) == {
        (topology, keying, seed)
        for topology in ("line:2", "line:3")
        for keying in ("none", "manual")
        for seed in (1, 2)
    }
    count = duckdb.execute(f"select count(*) from '{path}'").fetchone()
    assert count is not None and count[0] == 8


def test_the_notebook_runs_on_the_results(swept: tuple[Path, Path], tmp_path: Path, monkeypatch: object) -> None:
    notebook = json.loads((PROJECT / "experiments/sweeps/storm_by_size.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells)
    script = tmp_path / "notebook.py"
    script.write_text("\n".join("".join(cell["source"]) for cell in cells))
    os.environ["SWEEP_RESULTS"] = str(swept[1] / "results.parquet")
    try:
        names = runpy.run_path(str(script))
    finally:
        del os.environ["SWEEP_RESULTS"]
    assert names["medians"]["n"].sum() == 8 and names["asked"]["median"].is_not_null().any()


@pytest.fixture
def scheduler() -> Iterator[str]:
    """A scheduler with one worker that plays two guests at a time, as on another machine."""
    from distributed import LocalCluster

    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


def test_workers_of_a_scheduler_give_the_same_records(swept: tuple[Path, Path], scheduler: str, tmp_path: Path) -> None:
    import polars

    file = tmp_path / "part.yaml"
    file.write_text(TINY.replace('"line:2", "line:3"', '"line:2"'))
    done = lab(file, "--out", tmp_path / "out", "--scheduler", scheduler)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    here = polars.read_parquet(swept[1] / "results.parquet")
    there = polars.read_parquet(tmp_path / "out" / "results.parquet")
    expected = here.filter(polars.col("topology") == "line:2")["record_sha256"].to_list()
    assert there["record_sha256"].to_list() == expected and len(set(expected)) == 4


def test_failed_runs_are_moved_apart_listed_and_tried_again(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from testbed.runner.experiment import Adjacencies, Experiment, Measures, step\n\n\n"
        "class Broken(Experiment):\n"
        "    name = title = question = method = 'broken'\n"
        "    topology, keyings, duration_s = 'line:2', ('none', 'manual'), 20.0\n\n"
        "    def timeline(self, topology, rng):\n        return [step(5, 'mark', name='there')]\n\n"
        "    def measure(self, run):\n"
        "        run.mark('there' if run.plan.keying == 'none' else 'nowhere')\n"
        "        return Measures(1.0, Adjacencies(2, 2))\n"
    )
    file = tmp_path / "sweep.yaml"
    file.write_text(f"experiment: {broken}\nseeds: 1\n")
    for _ in range(2):
        done = lab(file, "--out", tmp_path / "out", "--json")
        assert done.returncode == 1, done.stdout + done.stderr[-3000:]
        assert json.loads(done.stdout)["failed"] == 1 and json.loads(done.stdout)["done"] == 1
        (failure,) = map(json.loads, (tmp_path / "out" / "failures.jsonl").read_text().splitlines())
        assert failure["keying"] == "manual" and "nowhere" in failure["detail"]
        assert (tmp_path / "out" / failure["folder"] / "record.jsonl").exists()


def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = lab(tmp_path / "tiny.yaml", "--scheduler", "nonsense")
    assert done.returncode == 2 and "tcp://host:port" in done.stderr
