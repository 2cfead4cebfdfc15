"""From folders to the run view's file: which runs are meant, and what is told when they cannot be shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from testbed.analysis.run import PLAN, Run
from testbed.errors import InputError
from testbed.report.style import ordered
from testbed.runner.execute import RUNS
from testbed.view.page import page
from testbed.view.readable import readable
from testbed.view.scene import scene
from testbed.whole import put

NAME = "view.html"
MOST = 2
"""Runs that stand side by side."""


def write(folders: Sequence[Path], out: Path | None, keyings: Sequence[str] | None = None) -> tuple[Path, list[str]]:
    """Write the page; where it is, and the names of the runs in it. `keyings`: which modes of results folders.

    Raises InputError for folders without a run and damaged records; nothing is written then. OSError.
    """
    most = MOST if len(folders) == 1 else 1
    runs = [run for folder in folders for run in _runs(folder, most, keyings)]
    if len(runs) > MOST:
        raise InputError(f"{len(runs)} runs", allowed=f"at most {MOST} side by side")
    scenes = []
    for run in runs:
        with readable(run.folder):
            scenes.append(scene(run))
    path = out if out is not None else folders[0] / NAME
    put(path, page(scenes))
    return path, [each["name"] for each in scenes]


def _runs(folder: Path, most: int, keyings: Sequence[str] | None) -> list[Run]:
    """The run in this folder; or of a results folder the first seeds of its keying modes, the given or the last."""
    if (folder / PLAN).exists():
        return [Run(folder)]
    runs: dict[str, Run] = {}
    for each in sorted(folder.glob(f"{RUNS}/*/{PLAN}")):
        run = Run(each.parent)
        with readable(run.folder):
            first = runs.get(run.plan.keying)
            if first is None or run.plan.seed < first.plan.seed:
                runs[run.plan.keying] = run
    if not runs:
        problem = "no run is here" if folder.is_dir() else "is not a folder" if folder.exists() else "no such folder"
        raise InputError(
            problem, where=str(folder), allowed="a run's folder, or a results folder of `lab run`",
            next_command="lab run power_cycle --topology ring:4 --seeds 1",
        )  # fmt: skip
    if keyings is None:
        return [runs[keying] for keying in ordered(runs)[-most:]]
    for keying in keyings:
        if keying not in runs:
            raise InputError(
                f"no run of keying mode {keying!r} is in this folder",
                where=str(folder), allowed=", ".join(ordered(runs)),
            )  # fmt: skip
    return [runs[keying] for keying in dict.fromkeys(keyings)]
