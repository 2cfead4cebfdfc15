"""Runs the recorded commands of results/ again, and compares every number.

A summary.json marks a results folder. Knows nothing of what a command does.
"""

from __future__ import annotations

import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.analysis import equal_numbers, significance
from testbed.analysis.equal_numbers import Number
from testbed.errors import EnvironmentFailure, InputError
from testbed.record.flaws import listed
from testbed.record.summary import FILE, read_summary
from testbed.setup import children
from testbed.setup.paths import PROJECT

RESULTS = PROJECT / "results"
PROGRAM = "./lab"
SWEEP = "sweep.csv"
"""What the folder of a sweep has in place of a summary: its runs are not done again here."""
# The run's own exit code: all held, or a criterion did not; either way it has numbers.
RAN = (0, 1)


@dataclass(frozen=True)
class Reproduced:
    """One results folder, reproduced. `changed`: differences in origin. `processor_s`: processor time of all its
    programs and guests, in seconds."""

    name: str
    command: str
    numbers: Sequence[Number]
    records: Sequence[Number]
    changed: Sequence[str]
    wall_s: float
    processor_s: float

    @property
    def same(self) -> bool:
        return all(each.same for each in self.numbers)


def recorded(only: Sequence[str], folder: Path, flaws: list[InputError]) -> dict[str, dict[str, Any]]:
    """The summaries of results/ by name; `flaws` gets unreadable ones, and those without a command.

    Raises InputError for an unknown name, and when nothing is left to reproduce.
    """
    there = {path.name: path for path in sorted(folder.glob("*")) if path.is_dir() and not (path / SWEEP).is_file()}
    for name in only:
        if name not in there:
            raise InputError(
                f"no reference results {name!r}", where=str(folder), allowed=", ".join(there) or "none yet",
                next_command="lab reproduce --help",
            )  # fmt: skip
    summaries = {}
    for name in only or there:
        try:
            summaries[name] = read_summary(there[name])
            _words(summaries[name].get("command", ""), there[name])
        except InputError as error:
            summaries.pop(name, None)
            flaws.append(error)
    if not summaries:
        if len(flaws) == 1:
            raise flaws[0]
        raise InputError(
            f"no reference results can be reproduced{listed(flaws)}", where=str(folder),
            allowed="a folder of results folders, each with its summary.json", next_command="lab reproduce --help",
        )  # fmt: skip
    return summaries


def _words(command: str, folder: Path) -> list[str]:
    """The recorded command's words after the program. InputError for any but a run."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if words[:2] != [PROGRAM, "run"]:
        raise InputError(
            f"its command is {command!r}", where=str(folder / FILE), allowed=f"a command that begins with {PROGRAM} run"
        )
    return words[1:]


def reproduce(name: str, summary: dict[str, Any], out: Path) -> Reproduced:
    """Reproduce one of them into `out`. Raises EnvironmentFailure when it gives no numbers."""
    words = _words(summary["command"], RESULTS / name)
    started, spent = time.monotonic(), _children_s()
    argv = [sys.executable, "-m", "testbed.cli", *words, "--out", str(out)]
    with children.started(argv, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
        code = child.wait()
    if code not in RAN or not (out / FILE).exists():
        raise EnvironmentFailure(f"{summary['command']} left with exit code {code}", where=f"results/{name}")
    now = read_summary(out)
    return Reproduced(
        name, summary["command"], equal_numbers.numbers(summary, now), equal_numbers.records(summary, now),
        significance.provenance(summary, now), time.monotonic() - started, _children_s() - spent,
    )  # fmt: skip


def _children_s() -> float:
    """Processor time of all our child programs that have ended, with their own children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
