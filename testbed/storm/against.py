"""The same storm in the guest and computed: how far do they differ?

    python -m testbed.storm.against RUN...      runs of recovery_storm on ring:N, N up to 20

Takes the moments at which the agents of a guest's run booted, lets computed ones boot then, and compares what the DKS
was asked, and when each router was keyed. The DKS takes no time here, as none passes in a guest on virtual time.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.policy.domain import Settings
from testbed.analysis.run import NS, Run
from testbed.keying.options import AgentOptions
from testbed.storm.case import PROTOCOLS, SETTINGS
from testbed.storm.rings import DKS, places
from testbed.storm.world import Storm, instant


@dataclass(frozen=True)
class Side:
    """`asked`: requests by exchange, repeats left out, up to the end of the guest's record; `repeats` those; `keyed_s`:
    when each router was, since the power returned; `times_s`: of all requests."""

    asked: dict[str, int]
    repeats: int
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
    world = Storm(list(places(len(boots) - 1, settings, PROTOCOLS)), seed, instant(), keep_times=True)
    world.power_returns(boots)
    world.simulation.run(end_s)
    tally = world.tally
    asked = {name: sum(counts.values()) for name, counts in tally.served.items() if counts}
    world.close()
    repeats = len(tally.request_times) - sum(asked.values())
    return Side(asked, repeats, dict(tally.keyed), tuple(tally.request_times))


def compare(run: Run) -> tuple[Side, Side]:
    """Guest and computed. ValueError for a run that has no ring of at most 20 routers."""
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


def main(folders: Sequence[str]) -> int:
    """Print what both saw, run by run."""
    for each in folders:
        run = Run(Path(each))
        sides = compare(run)
        apart = [abs(sides[0].keyed_s[name] - sides[1].keyed_s[name]) for name in sides[0].keyed_s]
        print(f"{run.plan.keying}, {run.plan.topology.name}, seed {run.plan.seed}")
        for name, side in zip(("guest", "computed"), sides, strict=True):
            last = max(side.keyed_s.values(), default=float("nan"))
            early = sum(time <= 60 for time in side.times_s)
            print(
                f"  {name:8} {dict(sorted(side.asked.items()))}, repeats {side.repeats}, "
                f"in the first minute {early}, last router keyed {last:.3f} s"
            )
        print(
            f"  routers keyed apart by {max(apart):.3f} s at most, {sorted(apart)[len(apart) // 2]:.3f} s in the median"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
