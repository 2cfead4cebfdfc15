"""The same seed gives the same bytes, on a busy machine too; another seed does not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.probes.pcap import read_frames
from testbed.setup.paths import PROJECT

SOON = 'policy={"reconnect": {"first_min_s": 60, "first_max_s": 120}}'
SMALL = {"power_cycle": "line:3", "link_cut": "ring:4", "recovery_storm": "line:3"}


def lab(*words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "testbed.cli", *map(str, words)]
    return subprocess.run(argv, cwd=PROJECT, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)


@contextmanager
def busy_machine() -> Iterator[None]:
    """Two processes that never rest, beside whatever else runs."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        yield
        assert all(loop.poll() is None for loop in loops)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@pytest.fixture(scope="module", params=sorted(SMALL))
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with every packet captured, without security and with local key servers."""
    out = tmp_path_factory.mktemp(request.param)
    done = lab(
        "run", request.param, "--topology", SMALL[request.param], "--keying", "none,lks", "--seed", "7", "--out", out,
        "-o", 'captures="all"', "-o", SOON,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


def test_a_run_played_again_on_a_busy_machine_has_the_same_record_and_captures_byte_for_byte(
    finished: Path, tmp_path: Path
) -> None:
    with busy_machine():
        again = lab("replay", finished, "--out", tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr[-2000:]
    assert again.stdout.count(": identical") == 2 and "note" not in again.stdout
    for run in (finished / "runs").iterdir():
        (other,) = (tmp_path / "runs").glob(run.name)
        told = ("outcome.json", "origin.json")  # the wall time, and the checkout's commit
        files = [path for path in run.rglob("*") if path.is_file() and path.name not in told]
        assert sum(path.suffix == ".pcap" and len(list(read_frames(path))) > 20 for path in files) >= 4
        assert (run / "record.jsonl").stat().st_size > 10_000
        for path in files:
            assert path.read_bytes() == (other / path.relative_to(run)).read_bytes(), path


def test_a_run_of_another_seed_is_found_out_with_line_time_and_event(tmp_path: Path) -> None:
    words = ("run", "power_cycle", "--topology", "line:2", "--keying", "none", "--seed", "7", "--out", tmp_path / "one")
    assert lab(*words).returncode == 0
    (run,) = (tmp_path / "one" / "runs").iterdir()
    other = tmp_path / "other"
    shutil.copytree(run, other)
    plan, origin = json.loads((run / "plan.json").read_text()), json.loads((run / "origin.json").read_text())
    (other / "plan.json").write_text(json.dumps({**plan, "seed": 8}))
    (other / "origin.json").write_text(json.dumps({**origin, "code": "0" * 12}))
    done = lab("replay", other, "--json")
    assert done.returncode == 1, done.stderr
    (row,) = json.loads(done.stdout)
    assert not row["identical"]
    assert row["differences"][0]["file"] == "record.jsonl" and row["differences"][0]["number"] == 1
    assert any("another code: 000000000000 then" in note for note in row["notes"])


def test_a_run_on_the_real_clock_is_not_played_again(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    (tmp_path / "origin.json").write_text('{"kind": "uml", "kernel": "", "tree": "", "code": ""}')
    done = lab("replay", tmp_path)
    assert done.returncode == 2 and "real clock" in done.stderr


def test_reference_results_come_out_the_same_and_a_changed_number_is_named(tmp_path: Path) -> None:
    kept = tmp_path / "results" / "power_cycle"
    words = ("run", "power_cycle", "--topology", "line:2", "--keying", "none,manual", "--seed", "7", "--out", kept)
    assert lab(*words).returncode == 0
    shutil.rmtree(kept / "runs")
    same = lab("reproduce", "--results", kept.parent, "--out", tmp_path / "again")
    assert same.returncode == 0, same.stdout + same.stderr
    assert "2 of 2 records byte for byte" in same.stdout and "DIFFERS" not in same.stdout
    summary = json.loads((kept / "summary.json").read_text())
    summary["keyings"]["manual"]["convergence_s"]["median"] += 0.001
    (kept / "summary.json").write_text(json.dumps(summary))
    other = lab("reproduce", "power_cycle", "--results", kept.parent, "--out", tmp_path / "again")
    assert other.returncode == 1
    assert other.stdout.count("DIFFERS") == 1 and "keyings / manual / convergence_s / median" in other.stdout
