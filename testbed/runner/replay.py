"""Plays a finished run again from its own plan, and compares all bytes.

Only a run in virtual time can be the same again. Knows nothing of a run's measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.analysis.first_difference import Difference, differences, frames, record
from testbed.analysis.run import PLAN, RECORD, Run
from testbed.errors import InputError
from testbed.record import origin
from testbed.record.plan import Plan
from testbed.runner import execute
from testbed.runner.execute import Outcome


@dataclass(frozen=True)
class Replayed:
    """One run and the result of its replay. `notes`: known reasons for a difference."""

    folder: Path
    again: Path
    differences: Sequence[Difference]
    notes: Sequence[str]
    failure: str = ""

    @property
    def identical(self) -> bool:
        return not self.differences and not self.failure


def runs_of(folder: Path) -> list[Path]:
    """The run folders: the named one, or all of a results folder. Raises InputError when there is none."""
    if any((folder / name).exists() for name in (PLAN, RECORD, origin.FILE)):
        return [folder]
    folders = sorted(path for path in (folder / execute.RUNS).glob("*") if path.is_dir())
    if not folders:
        raise InputError(
            "no run is here", where=str(folder), allowed="a folder that `lab run` wrote, or one of its runs/",
            next_command="lab run --help",
        )  # fmt: skip
    return folders


def notes(folder: Path, now: origin.Origin) -> list[str]:
    """Known differences from the run's origin. Raises InputError for a run on the real clock."""
    changed = [f"{Path(str(flaw.where)).name}: {flaw.problem}" for flaw in Run(folder).flaws()]
    made = origin.read(folder)
    if made is None:
        return ["the run does not record its origin", *changed]
    if made.kind != "virtual":
        raise InputError(
            f"was run with --kernel {made.kind}: on the real clock no two runs are the same", where=str(folder),
            allowed="a run in virtual time", next_command="lab compare A B, for more than one seed",
        )  # fmt: skip
    lines = made.differs(now)
    if lines and made.commit is not None:
        lines.append(f"made from commit {made.commit.removesuffix('+')}{_changed(made.commit)}")
    return lines + changed


def _changed(commit: str) -> str:
    return " and uncommitted changes" if commit.endswith("+") else ""


def replay(
    folders: Sequence[Path], out: Path, jobs: int, progress: Callable[[Outcome, int, int], None]
) -> list[Replayed]:
    """Play these runs again into `out`. A run that cannot be played or compared is reported as a failure.

    Raises InputError when that holds for all.
    """
    code = execute.code_digest()
    now = origin.here("virtual", code)
    replayed: dict[Path, Replayed] = {}
    plans: dict[Path, tuple[Plan, list[str]]] = {}
    for folder in folders:
        try:
            why = notes(folder, now)
            plan = _plan(folder)
            _comparable(folder)
            plans[folder] = plan, why
        except InputError as error:
            if len(folders) == 1:
                raise
            replayed[folder] = Replayed(folder, folder, (), (), str(error))
    if not plans:
        raise InputError(
            "no run here can be played again:\n" + "\n".join(each.failure for each in replayed.values()),
            where=str(folders[0].parent), allowed="runs in virtual time, with plan and record",
        )  # fmt: skip
    with execute.locked(out, new=True):
        outcomes = execute.play(
            [plan for plan, _ in plans.values()], out, "virtual", jobs, fresh=True, progress=progress
        )
    for (folder, (_, why)), outcome in zip(plans.items(), outcomes, strict=True):
        replayed[folder] = Replayed(
            folder, outcome.folder, differences(folder, outcome.folder) if outcome.done else (), why,
            "" if outcome.done else f"{outcome.status}\n{outcome.detail}",
        )  # fmt: skip
    return [replayed[folder] for folder in folders]


def _comparable(folder: Path) -> None:
    """InputError when there is no record to compare, or a capture that cannot be read."""
    with record(folder):
        pass
    for path in sorted((folder / "pcap").glob("*.pcap")):
        for _ in frames(path):
            pass


def _plan(folder: Path) -> Plan:
    try:
        return Plan.read(folder / PLAN)
    except InputError as error:
        raise InputError(
            f"the plan cannot be played by this code: {error.problem}", where=error.where,
            next_command="git checkout of the commit in its origin.json, and the same command again",
        ) from error  # fmt: skip
