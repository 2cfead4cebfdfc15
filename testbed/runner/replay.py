"""Plays a finished run again from its own plan, and compares all bytes.

Only a run in virtual time can be the same again. Knows nothing of what a run measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.analysis.difference import Difference, differences
from testbed.analysis.run import Run
from testbed.errors import InputError
from testbed.record.manifest import sha256
from testbed.record.plan import Plan
from testbed.runner import execute, origin
from testbed.runner.execute import Outcome


@dataclass(frozen=True)
class Replayed:
    """One run and what came of playing it again. `notes`: why it may differ, known before it was played."""

    folder: Path
    again: Path
    differences: Sequence[Difference]
    notes: Sequence[str]
    failure: str = ""

    @property
    def identical(self) -> bool:
        return not self.differences and not self.failure


def runs_of(folder: Path) -> list[Path]:
    """The run folders meant: the one named, or all of a results folder. Raises InputError when there is none."""
    if (folder / "plan.json").exists():
        return [folder]
    found = sorted(path.parent for path in (folder / "runs").glob("*/plan.json"))
    if not found:
        raise InputError(
            "no run is here", where=str(folder), allowed="a folder that `lab run` wrote, or one of those in its runs/"
        )
    return found


def notes(folder: Path, now: origin.Origin) -> list[str]:
    """What is known to differ from what made the run. Raises InputError for a run on the real clock."""
    made = origin.read(folder)
    if made is None:
        return ["the run does not say from what it was made"]
    if made.kind != "virtual":
        raise InputError(
            f"was run with --kernel {made.kind}: on the real clock no two runs are the same", where=str(folder),
            allowed="a run in virtual time", next_command="lab compare A B, for more than one seed",
        )  # fmt: skip
    told = made.differs(now)
    if told and made.commit is not None:
        told.append(f"made from commit {made.commit.removesuffix('+')}{_changed(made.commit)}")
    expected = Run(folder).manifest.get("sha256", {}).get("record.jsonl")
    record = folder / "record.jsonl"
    if record.exists() and expected is not None and sha256(record) != expected:
        told.append("its record was changed since it was written: its hash is not the manifest's")
    return told


def _changed(commit: str) -> str:
    return " and changes that were in no commit" if commit.endswith("+") else ""


def replay(folders: Sequence[Path], out: Path, jobs: int, told: Callable[[Outcome, int, int], None]) -> list[Replayed]:
    """Play these runs again into `out`. Raises InputError for what cannot be played or compared."""
    code = execute.code_digest()
    now = origin.here("virtual", code)
    known = [notes(folder, now) for folder in folders]
    plans = [_plan(folder) for folder in folders]
    with execute.locked(out):
        outcomes = execute.play(plans, out, "virtual", jobs, fresh=True, told=told)
    return [
        Replayed(
            folder, outcome.folder, differences(folder, outcome.folder) if outcome.done else (), why,
            "" if outcome.done else f"{outcome.status}\n{outcome.detail}",
        )
        for folder, outcome, why in zip(folders, outcomes, known, strict=True)
    ]  # fmt: skip


def _plan(folder: Path) -> Plan:
    try:
        return Plan.read(folder / "plan.json")
    except (OSError, ValueError) as error:
        raise InputError(
            f"the plan cannot be played by this code: {str(error).splitlines()[0]}", where=str(folder / "plan.json"),
            next_command="git checkout of the commit in its origin.json, and again",
        ) from error  # fmt: skip
