"""One case of the storm: a size, a keying mode, a seed; played in processes, each with the routers of one DKS process.

What a case gives depends on its values alone: the same case gives the same bytes. What it cost is kept apart.
Knows nothing of figures or of how a case is chosen.
"""

from __future__ import annotations

import gc
import resource
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agents.ipsec.protection import RoutingProtocol
from agents.policy.domain import Settings
from testbed.storm.memo import remembering
from testbed.storm.rings import places
from testbed.storm.service import Service
from testbed.storm.tally import EXCHANGES, Tally, quantile, series
from testbed.storm.world import Storm, without_neighbors

SETTINGS = {
    "lks": Settings(validity_s=1 << 33, issuer="lks", local_key_server=True),
    "central-mgmt": Settings(validity_s=1 << 33, issuer="dks", local_key_server=False),
}
PROTOCOLS = (RoutingProtocol.OSPF, RoutingProtocol.PIM)
STEP_S = 1.0
AFTER_S = 10.0
"""How long a case goes on when all is done."""


@dataclass(frozen=True)
class Case:
    """`full_rings`: how many rings, with an LKS, have their neighbours' exchange; None: all. `rest_s`: see
    testbed.storm.world. `until_s`: the end, if not all is done before."""

    routers: int
    keying: str
    seed: int
    spread_s: float
    until_s: float
    service: Service = field(default_factory=Service)
    processes: int = 1
    full_rings: int | None = None
    rest_s: float | None = None
    rate: float = 500.0
    burst: int = 2000
    pim: bool = True
    """Whether PIM runs beside OSPF: a second group an interface and sender, and pairs with rendezvous points."""

    @property
    def protocols(self) -> tuple[RoutingProtocol, ...]:
        return PROTOCOLS if self.pim else PROTOCOLS[:1]

    @property
    def paired_rings(self) -> int | None:
        """How many rings have a rendezvous point; None: all. None of those whose routers have no neighbours or rest:
        they would not answer."""
        return 0 if self.keying != "lks" and self.rest_s is not None else self.full_rings

    @property
    def label(self) -> str:
        return f"{self.keying} {self.routers}"


@dataclass
class Part:
    """What one process saw."""

    tally: Tally
    routers: int
    until_s: float
    longest: int
    resting: int
    cpu_s: float
    wall_s: float
    peak_mib: int


def play(case: Case, number: int) -> Part:
    """The routers of the DKS's process `number`, until all of them are where they want to be."""
    gc.disable()  # cores of 100,000 routers are no garbage, and looking at them all takes longer than the rest
    began, cpu = time.monotonic(), time.process_time()
    share = (number, case.processes)
    with remembering():
        own_keys = case.keying == "lks"
        mine = list(places(case.routers, SETTINGS[case.keying], case.protocols, share, case.paired_rings))
        apart = without_neighbors(mine, case.full_rings) if own_keys and case.full_rings is not None else frozenset()
        world = Storm(
            mine,
            case.seed * 1000 + number,
            case.service,
            apart=apart,
            rest_s=case.rest_s,
            rate=case.rate,
            burst=case.burst,
            share=share,
            documents=case.routers,
        )
        world.power_returns(case.spread_s)
        tally, end = world.tally, case.until_s
        simulation = world.simulation
        while simulation.now < end:
            simulation.run(min(end, simulation.now + STEP_S))
            if len(tally.admitted) == len(mine) and tally.complete and tally.paired:
                end = min(end, simulation.now + AFTER_S)
        world.close()
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Part(
        tally, len(mine), simulation.now, world.longest_queue, world.resting,
        time.process_time() - cpu, time.monotonic() - began, peak_mib,
    )  # fmt: skip


def together(case: Case, parts: Sequence[Part]) -> dict[str, Any]:
    """What all processes saw, as numbers fit for JSON."""
    seconds = int(max(part.until_s for part in parts))
    tallies = [part.tally for part in parts]
    paired = sorted(round(time, 6) for tally in tallies for time in tally.pairs_keyed.values())
    keyed = sorted(round(time, 6) for tally in tallies for time in tally.keyed.values())
    admitted = sorted(round(time, 6) for tally in tallies for time in tally.admitted.values())
    waits = sorted(wait for tally in tallies for wait in tally.asked_to_wait)
    watched = sum(len(tally.neighbors) for tally in tallies)
    served = {each: _added([tally.served[each] for tally in tallies]) for each in EXCHANGES}
    offered, lost = _added([each.offered for each in tallies]), _added([each.lost for each in tallies])
    refused, repeats = _added([each.refused for each in tallies]), _added([each.repeats for each in tallies])
    depth = Counter({second: max(each.depth[second] for each in tallies) for second in range(seconds)})
    return {
        "case": asdict(case),
        "until_s": max(part.until_s for part in parts),
        "complete": len(keyed) == watched and len(admitted) == case.routers,
        "neighbors_exchanged": watched if case.keying == "lks" else 0,
        "resting": sum(part.resting for part in parts),
        "keyed_s": _times(keyed, watched),
        "groups": sum(tally.groups for tally in tallies),
        "pairs_keyed_s": _times(paired, sum(tally.pairs for tally in tallies)),
        "admitted_s": _times(admitted, case.routers),
        "requests": {
            "offered": sum(offered.values()),
            "lost": sum(lost.values()),
            "repeats": sum(repeats.values()),
            "refused": sum(refused.values()),
            "peak_offered_per_s": max(offered.values(), default=0),
            "first_60s": sum(count for second, count in offered.items() if second < 60),
            "served": {name: sum(counts.values()) for name, counts in served.items()},
        },
        "told_to_wait_s": {"median": quantile(waits, 0.5), "p95": quantile(waits, 0.95), "last": quantile(waits, 1.0)},
        "longest_queue": max(part.longest for part in parts),
        "errors": dict(sorted(sum((each.errors for each in tallies), Counter()).items())),
        "closed": dict(sorted(sum((each.closed for each in tallies), Counter()).items())),
        "series": {
            "offered": series(offered, seconds),
            "lost": series(lost, seconds),
            "refused": series(refused, seconds),
            "depth": series(depth, seconds),
            "keyed": series(Counter(map(int, keyed)), seconds),
            "admitted": series(Counter(map(int, admitted)), seconds),
            **{name: series(counts, seconds) for name, counts in served.items()},
        },
    }


def cost(parts: Sequence[Part]) -> dict[str, float]:
    """What it took, on this machine."""
    return {
        "cpu_s": round(sum(part.cpu_s for part in parts), 1),
        "wall_s": round(sum(part.wall_s for part in parts), 1),
        "peak_mib": max(part.peak_mib for part in parts),
    }


def _added(counters: Sequence[Counter[int]]) -> Counter[int]:
    return sum(counters, Counter())


def _times(found: Sequence[float], of: int) -> dict[str, float | int | None]:
    """When the first half, 95 % and the last of all `of` had it; None where they did not."""

    def when(share: float) -> float | None:
        need = max(1, -(-int(share * 1000 * of) // 1000))
        return found[need - 1] if of and len(found) >= need else None

    return {"n": len(found), "of": of, "median": when(0.5), "p95": when(0.95), "last": when(1.0)}
