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
from testbed.topology.resolved import Topology

KEPT = PROJECT / "results" / "counts.json"
NAMES = ("trips", "syscalls", "faults", "programs")
TOLERANCE = 0.05
SEED = 1
SMALL = ("power_cycle", "line:2")
LARGE = ("link_cut", "ring:20")
STORM = ("recovery_storm", "abilene")
KEYINGS = ("none", "lks")
WITHOUT_PIM = " without PIM"
MOST_FOR_PIM = {"none": 1.8, "lks": 1.6}
"""So many times the trips of the same run without PIM and its streams may a run take, by keying mode. Of docs/
benchmarks.md: what FRR's daemons take for it, and a little more."""


def name(experiment: str, topology: str, keying: str, *, pim: bool = True) -> str:
    """What a run is called in the file."""
    return f"{experiment} {topology} {keying}{'' if pim else WITHOUT_PIM}"


def played(experiment: str, topology: str, keying: str, folder: Path, *, pim: bool = True) -> execute.Outcome:
    """One run in an empty folder. Without `pim` it is the same with PIM on no router, and so without multicast
    streams. Raises what playing it raises, and EnvironmentFailure when it failed."""
    request = Request(experiment, topology=topology, keyings=(keying,), seeds=(SEED,))
    network = load(topology)
    (plan,) = prepare(find_for_guests(experiment), request, network if pim else without_pim(network)).plans
    return execute.play_alone(plan, folder)


def without_pim(topology: Topology) -> Topology:
    """What it would be with `pim: off`."""
    routers = {
        name: router.model_copy(
            update={
                "pim_rp": False,
                "interfaces": tuple(each.model_copy(update={"pim": False}) for each in router.interfaces),
            }
        )
        for name, router in topology.routers.items()
    }
    return topology.model_copy(update={"routers": routers, "pim": None})


def for_pim(measured: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """By run how many times the trips of the same run without PIM it takes, where both are there."""
    factors = {}
    for run, costs in measured.items():
        if (without := measured.get(f"{run}{WITHOUT_PIM}")) is not None:
            factors[run] = costs["trips"] / without["trips"]
    return factors


def dear(ratios: Mapping[str, float]) -> list[str]:
    """Which of the runs that `for_pim` tells of take too much for PIM, in words."""
    return [
        f"{run}: {ratio:.2f} × the trips without PIM in place of {most:g} at most"
        for run, ratio in ratios.items()
        if ratio > (most := MOST_FOR_PIM[run.split()[-1]])
    ]


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
