"""`lab lock renew`: the newest is locked, what moved is told, and the references show whether it matters."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from testbed.cli import lock
from testbed.record.summary import FILE, read_summary
from testbed.runner import reproduce
from testbed.runner.reproduce import Reproduced
from testbed.setup import archive, locks
from testbed.setup.archive import Package


def run(*words: str) -> Any:
    app = typer.Typer()
    app.callback()(lambda: None)
    lock.register(app)
    return CliRunner().invoke(app, ["lock", *words])


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of locks of our own, and a mirror that has newer ones."""
    monkeypatch.setattr(locks, "LOCKS", tmp_path)
    monkeypatch.setattr(archive, "LOCK", tmp_path / "debian.txt")
    (tmp_path / "guest.txt").write_text("rich==1 \\\n    --hash=sha256:0\ntyper==1 \\\n    --hash=sha256:1\n")

    def newer() -> None:
        (tmp_path / "guest.txt").write_text("rich==2 \\\n    --hash=sha256:2\ntyper==1 \\\n    --hash=sha256:1\n")

    monkeypatch.setattr(locks, "renew_wheels", newer)
    monkeypatch.setattr(locks, "renew_debian", lambda: archive.differences(
        [Package("frr", "1", "amd64", "a"), Package("gone", "1", "amd64", "b")], [Package("frr", "2", "amd64", "c")]
    ))  # fmt: skip
    return tmp_path


def test_what_moved_is_told_a_line_each(places: Path) -> None:
    done = run("renew")
    assert done.exit_code == 0
    assert [line.strip() for line in done.output.splitlines() if line.startswith("moved")] == [
        "moved   guest rich: 1 → 2", "moved   frr 1 → 2", "moved   gone 1: gone",
    ]  # fmt: skip


@pytest.mark.parametrize(("slower_s", "code"), [(0.0, 0), (5.0, 1)])
def test_the_references_are_measured_anew_and_a_real_difference_is_told(
    places: Path, monkeypatch: pytest.MonkeyPatch, slower_s: float, code: int
) -> None:
    summary = read_summary(reproduce.RESULTS / "recovery_storm")
    now = copy.deepcopy(summary)
    for row in now["keyings"].values():
        times = row["convergence_s"]
        times["values"] = [each if each is None else each + slower_s for each in times["values"]]

    def again(name: str, recorded: dict[str, Any], out: Path) -> Reproduced:
        out.mkdir(parents=True)
        (out / FILE).write_text(json.dumps(now))
        return Reproduced(name, recorded["command"], (), (), (), 0.0, 0.0)

    monkeypatch.setattr(reproduce, "recorded", lambda only, folder, flaws: {"recovery_storm": summary})
    monkeypatch.setattr(reproduce, "reproduce", again)
    monkeypatch.setattr("testbed.setup.all.make_all", lambda kind: None)
    done = run("renew", "--measure", "--out", str(places / "out"))
    assert done.exit_code == code
    assert ("a real difference" in done.output) is bool(code)
