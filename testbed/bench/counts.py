"""What a run in virtual time costs its host, in counts that depend on no machine and no load.

"trips" are round trips between the guest's kernel and a program in it, for a system call, a page fault or a change of
mappings; almost all of the processor time goes there. `results/counts.json` keeps those of a few runs, and a run that
costs more than 5 % more has become slower, on every machine. Knows nothing of what the runs are for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from testbed.runner import execute
from testbed.runner.experiment import find_for_guests
from testbed.runner.session import Request, prepare
from testbed.setup.paths import PROJECT
from testbed.topology.load import load

KEPT = PROJECT / "results" / "counts.json"
NAMES = ("trips", "syscalls", "faults", "programs")
TOLERANCE = 0.05
SEED = 1
SMALL = ("power_cycle", "line:2")
LARGE = ("link_cut", "ring:20")
KEYINGS = ("none", "lks")


def name(experiment: str, topology: str, keying: str) -> str:
    """What a run is called in the file."""
    return f"{experiment} {topology} {keying}"


def played(experiment: str, topology: str, keying: str, folder: Path) -> execute.Outcome:
    """One run in an empty folder. Raises what playing it raises, and EnvironmentFailure when it failed."""
    request = Request(experiment, topology=topology, keyings=(keying,), seeds=(SEED,))
    (plan,) = prepare(find_for_guests(experiment), request, load(topology)).plans
    return execute.play_alone(plan, folder)


def kept() -> dict[str, dict[str, int]]:
    """The counts of runs by their names; none where there is no file."""
    return dict(json.loads(KEPT.read_text())) if KEPT.exists() else {}


def keep(measured: Mapping[str, Mapping[str, int]]) -> None:
    """Put these in the place of what is kept of runs of the same names."""
    text = json.dumps({**kept(), **{run: dict(counts) for run, counts in measured.items()}}, indent=1, sort_keys=True)
    KEPT.write_text(text + "\n")


def changed(measured: Mapping[str, int], before: Mapping[str, int]) -> list[str]:
    """What differs by more than 5 %, in words."""
    return [
        f"{each} {measured[each]} in place of {before[each]} ({measured[each] / before[each] - 1:+.0%})"
        for each in NAMES
        if abs(measured[each] - before[each]) > TOLERANCE * before[each]
    ]
