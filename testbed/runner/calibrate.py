"""Plays the plans of a finished experiment on the real clock too, and compares the two clocks' numbers.

In virtual time computation is free. The comparison shows what that omits: the same plans, guest and seeds, on a clock
that never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from testbed.analysis.run import Run
from testbed.analysis.statistics import difference_of_medians, median_of
from testbed.errors import InputError, raise_errors
from testbed.record import origin
from testbed.record.flaws import listed
from testbed.record.plan import Plan
from testbed.record.reading import document
from testbed.runner import execute
from testbed.runner.answers import measured
from testbed.runner.execute import Outcome
from testbed.runner.experiment import Experiment, Measures

FOLDER = "calibration"
FILE = "calibration.json"
Series = dict[tuple[str, str], list[float | None]]


class Row(BaseModel):
    """One measure of one keying mode in calibration.json."""

    keying: str
    measure: str
    n: tuple[int, int]
    virtual: float | None
    real: float | None
    difference: float | None
    low: float | None
    high: float | None
    differs: bool | None


def read(path: Path) -> list[dict[str, Any]]:
    """The rows that `calibrate` gave and that were kept. InputError when they are damaged."""
    return [each.model_dump() for each in document(path, list[Row])]


def plans(folder: Path, keyings: Sequence[str], most: int | None, flaws: list[InputError]) -> dict[Path, Plan]:
    """The finished runs in virtual time to calibrate, with their plans, at most this many seeds of each keying mode.
    InputErrors for a keying mode without any.

    `flaws` gets damaged runs, which are left out, and changed ones.
    """
    by_folder: dict[Path, Plan] = {}
    for own in sorted(path for path in (folder / execute.RUNS).glob("*") if path.is_dir()):
        try:
            made, run = origin.read(own), Run(own)
            if not execute.outcome_of(own).done or made is None or made.kind != "virtual":
                continue
            assert run.events
            by_folder[own] = run.plan
            flaws += run.flaws()
        except InputError as error:
            flaws.append(InputError(f"left out: {error.problem}", where=error.where))
    if not by_folder:
        raise InputError(
            f"no finished run in virtual time is here{listed(flaws)}", where=str(folder),
            allowed="a folder that `lab run` wrote", next_command="lab run --help",
        )  # fmt: skip
    there = list(dict.fromkeys(plan.keying for plan in by_folder.values()))
    raise_errors(
        InputError(f"no finished run of {each!r} is here", where="--keying", allowed=", ".join(there))
        for each in keyings if each not in there
    )  # fmt: skip
    by_folder = {own: plan for own, plan in by_folder.items() if plan.keying in (keyings or there)}
    seeds: dict[str, set[int]] = {}
    for plan in by_folder.values():
        seeds.setdefault(plan.keying, set()).add(plan.seed)
    wanted = {keying: sorted(of)[:most] for keying, of in seeds.items()}
    return {own: plan for own, plan in by_folder.items() if plan.seed in wanted[plan.keying]}


def calibrate(
    experiment: Experiment,
    chosen: Mapping[Path, Plan],
    folder: Path,
    jobs: int,
    progress: Callable[[Outcome, int, int], None],
) -> list[dict[str, Any]]:
    """Play the plans on the real clock and compare: one row for each measure of each keying mode.

    Raises EnvironmentFailure when a run on the real clock does not end.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    outcomes = execute.play(list(chosen.values()), folder / FOLDER, "uml", jobs, fresh=False, progress=progress)
    if problem := execute.first_problem(outcomes):
        raise problem
    name = experiment.main.name
    virtual = _series(name, [(plan.keying, measured(experiment, Run(own))) for own, plan in chosen.items()])
    real = _series(name, [(outcome.keying, measured(experiment, Run(outcome.folder))) for outcome in outcomes])
    return [row(keying, name, virtual[keying, name], real.get((keying, name), [])) for keying, name in virtual]


def row(keying: str, measure: str, virtual: Sequence[float | None], real: Sequence[float | None]) -> dict[str, Any]:
    """Real against virtual: the difference of the medians, with its 95 % interval if every run has a number.

    `differs`: the interval excludes 0; None when there is no interval.
    """
    sides = [[value for value in side if value is not None] for side in (virtual, real)]
    whole = all(sides) and len(sides[0]) == len(virtual) and len(sides[1]) == len(real)
    difference = difference_of_medians(*sides) if whole else None
    middles = [median_of(side).value if side else None for side in sides]
    return {
        "keying": keying, "measure": measure, "n": [len(virtual), len(real)],
        "virtual": middles[0], "real": middles[1],
        "difference": None if difference is None else round(difference.value, 6),
        "low": None if difference is None or difference.low is None else round(difference.low, 6),
        "high": None if difference is None or difference.high is None else round(difference.high, 6),
        "differs": None if difference is None else difference.excludes(0.0),
    }  # fmt: skip


def _series(main: str, measured: Sequence[tuple[str, Measures]]) -> Series:
    series: Series = {}
    for keying, each in measured:
        numbers: dict[str, float | None] = {f"{main}, s": each.main_s}
        if each.asked.first_60s is not None:
            numbers["DKS requests in the first 60 s"] = each.asked.first_60s
        if each.asked.total:
            numbers["DKS requests"] = each.asked.total
        for name, value in {**numbers, **each.extra}.items():
            series.setdefault((keying, name), []).append(value)
    return series
