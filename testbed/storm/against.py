"""The same storm in the guest and computed: how far do they differ?

    python -m testbed.storm.against [--keep FILE] RUN...      runs of recovery_storm on ring:N, and folders of such runs

Takes the moments at which the agents of a guest's run booted, lets computed ones boot then, and compares what the DKS
was asked, and when each router was keyed. The DKS takes no time here, as none passes in a guest on virtual time.
`--keep` writes what is printed as JSON besides, an entry a run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from agents.policy.domain import Settings
from testbed.analysis.run import NS, Run
from testbed.keying.options import AgentOptions
from testbed.storm.case import PROTOCOLS, SETTINGS
from testbed.storm.rings import DKS, ring_routers
from testbed.storm.world import Storm, instant
from testbed.whole import put

EARLY_S = 60.0


@dataclass(frozen=True)
class Side:
    """`asked`: requests by exchange without `retransmissions`, up to the end of the guest's record; `keyed_s`: when
    each router was, since the power returned; `times_s`: of all requests."""

    asked: dict[str, int]
    retransmissions: int
    keyed_s: dict[str, float]
    times_s: tuple[float, ...]


def guest(run: Run) -> tuple[Side, dict[str, float], float]:
    """What the guest saw; when agents booted, and when the record ends, in seconds since the power returned."""
    back = run.mark("power_returns")

    def since(moment: int) -> float:
        return (moment - back) / NS

    requests = [each for each in run.where("agent", "request", "dks") if each["t"] >= back]
    asked = Counter(each["exchange"] for each in requests if not each["retransmission"])
    boots = {each["node"]: since(each["t"]) for each in run.where("agent", "started") if each["t"] >= back}
    pairs: dict[str, list[float]] = {}
    for each in run.where("agent", "keyed"):
        if each["t"] >= back:
            pairs.setdefault(each["node"], []).append(since(each["t"]))
    keyed = {name: sorted(times)[1] for name, times in pairs.items() if len(times) > 1}
    times = tuple(since(each["t"]) for each in requests)
    return Side(dict(asked), len(requests) - sum(asked.values()), keyed, times), boots, since(run.events[-1]["t"])


def computed(settings: Settings, boots: dict[str, float], seed: int, end_s: float) -> Side:
    """The same boots under the same policy, computed."""
    routers = len(boots) - 1
    world = Storm(list(ring_routers(routers, settings, PROTOCOLS, largest=routers)), seed, instant(), keep_times=True)
    world.power_returns(boots)
    world.simulation.run(end_s)
    tally = world.tally
    asked = {name: sum(counts.values()) for name, counts in tally.served.items() if counts}
    world.close()
    retransmissions = len(tally.request_times) - sum(asked.values())
    return Side(asked, retransmissions, dict(tally.keyed), tuple(tally.request_times))


def compare(run: Run) -> tuple[Side, Side]:
    """Guest and computed. ValueError for a run of another network than a ring."""
    there, boots, end_s = guest(run)
    routers = sorted(name for name in boots if name != DKS)
    if {*routers} != {f"r{number + 1}" for number in range(len(routers))}:
        raise ValueError(f"{run.folder}: not a ring of routers r1, r2, ...")
    if run.plan.keying not in SETTINGS:
        raise ValueError(f"{run.folder}: {run.plan.keying} is not computed")
    usual = SETTINGS[run.plan.keying]
    assert isinstance(run.plan.options, AgentOptions)
    return there, computed(
        run.plan.options.settings(issuer=usual.issuer, local_key_server=usual.local_key_server),
        boots,
        run.plan.seed,
        end_s,
    )


def row(run: Run) -> dict[str, Any]:
    """What both saw of a run, in numbers fit for JSON; `apart_s`: how far the moments of a router's keys differ."""
    sides = compare(run)
    apart = sorted(abs(sides[0].keyed_s[name] - sides[1].keyed_s[name]) for name in sides[0].keyed_s)
    return {
        "topology": run.plan.topology.name,
        "routers": len(run.plan.topology.routers),
        "keying": run.plan.keying,
        "seed": run.plan.seed,
        **{name: _columns(side) for name, side in zip(("guest", "computed"), sides, strict=True)},
        "apart_s": {"median": round(median(apart), 3), "most": round(apart[-1], 3)},
    }


def _columns(side: Side) -> dict[str, Any]:
    return {
        "asked": dict(sorted(side.asked.items())),
        "repeats": side.retransmissions,
        "first_60s": sum(time <= EARLY_S for time in side.times_s),
        "keyed": len(side.keyed_s),
        "last_keyed_s": round(max(side.keyed_s.values()), 3),
    }


def _runs(folders: Sequence[Path]) -> Iterator[Run]:
    """The runs of these folders, each a run's own or one that holds runs."""
    for each in folders:
        inside = sorted(each.glob("runs/*/plan.json"))
        yield from (Run(path.parent) for path in inside) if inside else (Run(each),)


def main(words: Sequence[str]) -> int:
    """Print what both saw, run by run."""
    parser = argparse.ArgumentParser(prog="python -m testbed.storm.against")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--keep", type=Path, metavar="FILE")
    asked = parser.parse_args(words)
    rows = sorted(map(row, _runs(asked.runs)), key=lambda each: (each["routers"], each["keying"], each["seed"]))
    for each in rows:
        print(f"{each['keying']}, {each['topology']}, seed {each['seed']}")
        for name in ("guest", "computed"):
            side = each[name]
            print(
                f"  {name:8} {side['asked']}, retransmissions {side['repeats']}, in the first minute "
                f"{side['first_60s']}, {side['keyed']} routers keyed, the last at {side['last_keyed_s']:.3f} s"
            )
        print(
            f"  routers keyed at moments that differ by {each['apart_s']['most']:.3f} s at most, "
            f"{each['apart_s']['median']:.3f} s in the median"
        )
    if asked.keep is not None:
        put(asked.keep, json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
