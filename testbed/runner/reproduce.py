"""Does again what is in results/, by the commands recorded there, and compares every number.

Knows a results folder by its summary.json. What a command does is the command's business.
"""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.analysis import compare, sameness
from testbed.analysis.sameness import Number
from testbed.errors import EnvironmentFailure, InputError
from testbed.setup import children
from testbed.setup.paths import PROJECT

RESULTS = PROJECT / "results"
PROGRAM = "./lab"
# The run's own exit code: all held, or a criterion did not; either way it has numbers.
RAN = (0, 1)


@dataclass(frozen=True)
class Reproduced:
    """One results folder done again. `changed`: what it was made from that is not the same now. `processor_s`: what
    all of its programs and guests used of the processors, in seconds."""

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


def recorded(only: Sequence[str] = (), folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The summaries of results/ by name. Raises InputError for a name that is not there, or one with no command."""
    there = {path.parent.name: path for path in sorted(folder.glob("*/summary.json"))}
    for name in only:
        if name not in there:
            raise InputError(
                f"no reference results {name!r}", where=str(folder), allowed=", ".join(there) or "none yet"
            )
    found = {}
    for name, path in there.items():
        if only and name not in only:
            continue
        try:
            found[name] = json.loads(path.read_text())
            words = shlex.split(found[name]["command"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"cannot be read: {error}", where=str(path)) from error
        if words[:1] != [PROGRAM]:
            raise InputError(
                f"its command is {found[name]['command']!r}",
                where=str(path),
                allowed=f"a command that begins with {PROGRAM}",
            )
    return found


def reproduce(name: str, summary: dict[str, Any], out: Path) -> Reproduced:
    """Do one of them again into `out`. Raises EnvironmentFailure when it gives no numbers."""
    words = shlex.split(summary["command"])[1:]
    started, spent = time.monotonic(), _children_s()
    argv = [sys.executable, "-m", "testbed.cli", *words, "--out", str(out)]
    with children.started(argv, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
        code = child.wait()
    path = out / "summary.json"
    if code not in RAN or not path.exists():
        raise EnvironmentFailure(f"{summary['command']} left with exit code {code}", where=f"results/{name}")
    now = json.loads(path.read_text())
    return Reproduced(
        name, summary["command"], sameness.numbers(summary, now), sameness.records(summary, now),
        compare.provenance(summary, now), time.monotonic() - started, _children_s() - spent,
    )  # fmt: skip


def _children_s() -> float:
    """Processor time of all programs that we started and that have ended, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
