"""Half of the routers run the release before this one: what neighbours of two releases say to each other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.analysis.run import Run
from testbed.setup import previous
from testbed.setup.paths import PROJECT


def test_a_ring_in_which_every_other_router_runs_the_previous_release_loses_no_adjacency(tmp_path: Path) -> None:
    """Every link joins both releases, keys change for ten of their lifetimes, and the DKS is away meanwhile."""
    if (why := previous.missing()) is not None:
        pytest.skip(f"NOT TESTED against the previous release: {why}")
    words = ("run", "dks_outage", "--topology", "ring:4", "--keying", "lks", "--seed", "1", "-o", "previous=r1,r3")
    argv = [sys.executable, "-m", "testbed.cli", *words, "--out", str(tmp_path), "--json"]
    done = subprocess.run(argv, cwd=PROJECT, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    summary = json.loads(done.stdout)
    assert [each["text"] for each in summary["criteria"] if not each["ok"]] == []
    (folder,) = (tmp_path / "runs").iterdir()
    run = Run(folder)
    began = {event["node"] for event in run.where("agent", "began")}
    assert began == {"dks", "r2", "r4"}  # 0.1.0 had no such event
    rekeyed = {event["node"] for event in run.where("agent", "rekeyed")}
    assert rekeyed >= {"r1", "r2", "r3", "r4"}
