"""Plays a sweep, here or on other machines, and gathers the measures into one table.

The hash of everything that decides a run identifies it: a finished run is not played again, however the sweep was
ended. Failed runs are moved away, listed, and tried again the next time; runs that could not be measured stay, are
listed, and are measured again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testbed import owned
from testbed.analysis.run import RECORD, Run
from testbed.errors import InputError
from testbed.guest.boot import Kernel
from testbed.record import origin
from testbed.record.flaws import tried
from testbed.record.plan import Plan
from testbed.runner import execute
from testbed.runner.answers import measured
from testbed.runner.execute import NOT_MEASURED, Outcome
from testbed.runner.experiment import Experiment
from testbed.runner.session import written
from testbed.runner.sweepfile import Cell, Sweep
from testbed.whole import put

Progress = Callable[[Outcome, int, int], None]
# (plans, folder, kind, progress) → an outcome for each plan, in their order, its folder below `folder`.
Player = Callable[[Sequence[Plan], Path, Kernel, Progress], list[Outcome]]
FAILED = "failed"
FAILURES = "failures.jsonl"


@dataclass(frozen=True)
class Swept:
    """A finished sweep: one row for each finished run, one for each other run."""

    folder: Path
    rows: Sequence[dict[str, Any]]
    failures: Sequence[dict[str, Any]]


def local(jobs: int) -> Player:
    """Guests of this machine, `jobs` at a time."""

    def player(plans: Sequence[Plan], folder: Path, kind: Kernel, progress: Progress) -> list[Outcome]:
        return execute.play(plans, folder, kind, jobs, fresh=False, progress=progress)

    return player


def play(sweep: Sweep, folder: Path, player: Player, progress: Progress) -> Swept:
    """Play the missing runs, measure all, and write the tables. Raises InputError for a busy folder."""
    with execute.locked(folder, new=True):
        outcomes = player([cell.plan for cell in sweep.cells], folder, sweep.kernel, progress)
        rows, failures = [], []
        owned.remove(folder / FAILED)
        for cell, outcome in zip(sweep.cells, outcomes, strict=True):
            if not outcome.done:
                failures.append(_failure(cell, outcome, folder))
                continue
            flaws: list[InputError] = []
            with tried("cannot be measured", flaws, outcome.folder):
                rows.append(row(sweep.experiment, cell, outcome))
            if flaws:  # a failure of this run alone; it stays where it is, to be measured when that can be
                failures.append(_entry(cell, replace(outcome, status=NOT_MEASURED, detail=str(flaws[0])), folder))
        made = origin.here(sweep.kernel, execute.code_digest())
        about = {
            "experiment": sweep.experiment.name,
            "convergence_s": sweep.experiment.main.name,
            **{name: str(value) for name, value in vars(made).items()},
        }
        with written(folder):
            put(folder / FAILURES, "".join(json.dumps(each, default=str) + "\n" for each in failures))
            _table(folder, sweep, rows, about)
    return Swept(folder, rows, failures)


def row(experiment: Experiment, cell: Cell, outcome: Outcome) -> dict[str, Any]:
    """The measures of one run, with the levels that made it. Raises InputError for a record that cannot be read."""
    run = Run(outcome.folder)
    measured_ = measured(experiment, run)
    there, asked = measured_.adjacencies, measured_.asked
    measures = {
        "convergence_s": measured_.main_s,
        **({} if there is None else {f"adjacencies_{name}": value for name, value in vars(there).items()}),
        **{f"dks_{name}": value for name, value in vars(asked).items()},
    }
    return {
        **cell.levels,
        "seed": cell.seed,
        "routers": len(cell.plan.topology.routers),
        **measures,
        **measured_.extra,
        "virtual_s": outcome.virtual_s,
        "wall_s": outcome.wall_s,
        "run": outcome.folder.name,
        "record_sha256": run.manifest.sha256.get(RECORD),
    }


def _failure(cell: Cell, outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Move a failed run's files away from the results; their new folder."""
    kept = folder / FAILED / outcome.folder.name
    if outcome.folder.exists():
        with written(folder):
            owned.claim(kept.parent, str(kept.parent))
            outcome.folder.rename(kept)
    return _entry(cell, replace(outcome, folder=kept), folder)


def _entry(cell: Cell, outcome: Outcome, folder: Path) -> dict[str, Any]:
    return {
        **cell.levels, "seed": cell.seed, "status": outcome.status, "folder": str(outcome.folder.relative_to(folder)),
        "detail": outcome.detail,
    }  # fmt: skip


def _table(folder: Path, sweep: Sweep, rows: Sequence[dict[str, Any]], about: dict[str, str]) -> None:
    """results.parquet: one row for each run. Without rows there is none, and an old one is removed."""
    path = folder / "results.parquet"
    if not rows:
        path.unlink(missing_ok=True)
        return
    import polars

    names = list(dict.fromkeys(name for each in rows for name in each))
    columns = {
        name: _column([each.get(name) for each in rows], float_=name.endswith("_s") or ", s" in name) for name in names
    }
    kept = io.BytesIO()
    polars.DataFrame(columns).write_parquet(kept, metadata={**about, "factors": ",".join(sweep.factors)})
    put(path, kept.getvalue())


def _column(values: list[Any], *, float_: bool) -> list[Any]:
    """Numbers, truth values or texts as they are; anything else, and a mixture, as JSON."""
    there = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        whole = not float_ and all(isinstance(value, int) for value in there)
        return [None if value is None else value if whole else float(value) for value in values]
    if len({type(value) for value in there}) == 1 and isinstance(there[0], bool | str):
        return values
    return [None if value is None else json.dumps(value) for value in values]
