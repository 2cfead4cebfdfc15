"""Measures a results folder again, from its remaining files, and reports missing or damaged ones.

Needs nothing that plays runs. Writes nothing when nothing can be measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.analysis.run import PLAN, RECORD, sha256_of
from testbed.errors import InputError
from testbed.record import origin
from testbed.record.plan import Plan
from testbed.record.summary import FILE, read_summary
from testbed.report.drawing import Drawing
from testbed.runner import simulated
from testbed.runner.execute import OUTCOME, RUNS, Outcome, locked, outcome_of
from testbed.runner.experiment import find
from testbed.runner.played import played
from testbed.setup.artefact import digest

ABSENT = "missing"
"""The status of a run that the summary names and that does not exist."""


def _nothing(folder: Path) -> InputError:
    return InputError(
        "no run is here", where=str(folder / RUNS), allowed="a folder that `lab run` wrote, with its runs",
        next_command="lab run --help",
    )  # fmt: skip


def again(folder: Path, figures: Drawing | None = None) -> dict[str, Any]:
    """The summary of the folder, measured and drawn again; `flaws` gets unusable or changed files.

    Raises InputError for a folder in which nothing can be measured.
    """
    if not folder.is_dir():
        read_summary(folder)  # says what is there instead
    if not (folder / RUNS).exists() and not (folder / FILE).exists():
        raise _nothing(folder)
    with locked(folder):
        flaws: list[InputError] = []
        try:
            kept = read_summary(folder)
        except InputError as error:
            kept = {}
            flaws.append(InputError(f"{error.problem}: it is made again from the runs", where=error.where))
        outcomes = _outcomes(folder, kept.get("runs", ()), flaws)
        if not outcomes:
            raise _nothing(folder)
        plan = _a_plan(outcomes)
        name = kept.get("source") or kept.get("experiment") or (plan and plan.experiment)
        if not name:
            raise InputError("no run names its experiment", where=str(folder / RUNS),
                             allowed=f"a readable {FILE}, or {PLAN} of a run")  # fmt: skip
        experiment = find(name)
        about = {
            "topology": kept.get("topology") or (plan.topology.name if plan else ""),
            "routers": kept.get("routers") or (len(plan.topology.routers) if plan else 0),
            "kernel": kept.get("kernel") or _kind(outcomes),
            "command": kept.get("command") or "unknown: the summary was lost",
            "seeds": kept.get("seeds") or sorted({each.seed for each in outcomes}),
            "source": kept.get("source"),
            **({"partial": kept["partial"]} if "partial" in kept else {}),
        }
        return played(experiment).conclude(outcomes, about, folder, kept.get("provenance"), flaws, figures)


def _outcomes(folder: Path, entries: Sequence[dict[str, Any]], flaws: list[InputError]) -> list[Outcome]:
    """The outcome of every run that the summary names or, without one, whose folder exists."""
    if not entries:
        return _there(folder, flaws)
    outcomes = []
    for run in entries:
        own = folder / run["folder"]
        try:
            outcomes.append(outcome_of(own))
            continue
        except InputError as error:
            gone = not own.is_dir()
            flaws.append(InputError("the run is missing", where=str(own)) if gone else error)
        status = ABSENT if gone else "done" if run["status"] == ABSENT else run["status"]
        outcomes.append(Outcome(run["keying"], run["seed"], own, status, run["wall_s"], run["virtual_s"]))
    return outcomes


def _there(folder: Path, flaws: list[InputError]) -> list[Outcome]:
    """The newest of several runs of one mode and seed, which different versions of the code have left."""
    newest: dict[tuple[str, int], Outcome] = {}
    for path in sorted((folder / RUNS).glob(f"*/{OUTCOME}"), key=lambda path: path.stat().st_mtime):
        own = path.parent
        try:
            one = outcome_of(own)
        except InputError as error:
            flaws.append(error)
            continue
        if (older := newest.get((one.keying, one.seed))) is not None:
            flaws.append(InputError(f"left out: {own.name} is newer", where=str(older.folder)))
        newest[one.keying, one.seed] = one
    return list(newest.values())


def _a_plan(outcomes: Sequence[Outcome]) -> Plan | None:
    for each in outcomes:
        try:
            return Plan.read(each.folder / PLAN)
        except InputError:
            continue
    return None


def _kind(outcomes: Sequence[Outcome]) -> str:
    for each in outcomes:
        try:
            if made := origin.read(each.folder):
                return made.kind
        except InputError:
            continue
    return "virtual"


def records(folder: Path, summary: Mapping[str, Any], flaws: list[InputError]) -> dict[str, str | None]:
    """The present hash of each run's record, by mode and seed; `flaws` gets missing records, and those that differ from
    the summary. For results without their runs, the hashes of the summary."""
    recorded: dict[str, str | None] = summary.get("provenance", {}).get("records", {})
    if not (folder / RUNS).is_dir():
        return recorded
    digests: dict[str, str | None] = {}
    for run in summary.get("runs", ()):
        name, own = f"{run['keying']}-{run['seed']}", folder / run["folder"]
        computed = (own / simulated.RESULT).is_file()
        path = own / (simulated.RESULT if computed else RECORD)
        try:
            digests[name] = digest(path) if computed else sha256_of(path)
        except OSError:
            flaws.append(InputError("is missing: the numbers of the summary were compared", where=str(path)))
        else:
            if name in recorded and recorded[name] != digests[name]:
                changed = f"was changed since the summary was made; lab report {folder} makes the summary again"
                flaws.append(InputError(changed, where=str(path)))
    return digests
