"""One case of the storm: a size, a keying mode, a seed; played in processes, each with the routers of one DKS process.

What a case gives depends on its values alone: the same case gives the same bytes. What it cost is kept apart.
Knows nothing of figures or of how a case is chosen.
"""

from __future__ import annotations

import gc
import itertools
import random
import resource
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agents.ipsec.protection import RoutingProtocol
from agents.policy.cose import using
from agents.policy.domain import Settings
from testbed.storm.memo import Remembering
from testbed.storm.rings import DKS, RingRouter, by_ring, ring_routers
from testbed.storm.service import Service
from testbed.storm.tally import EXCHANGES, Tally, quantile, series
from testbed.storm.world import Storm

SETTINGS = {
    "lks": Settings(validity_s=1 << 33, issuer="lks", local_key_server=True),
    "central-mgmt": Settings(validity_s=1 << 33, issuer="dks", local_key_server=False),
}
PROTOCOLS = (RoutingProtocol.OSPF, RoutingProtocol.PIM)
VERSIONS = {2: RoutingProtocol.OSPF, 3: RoutingProtocol.OSPF6}
STEP_S = 1.0
AFTER_S = 10.0
"""How long a case goes on when all is done."""
FREED = 3
"""So many times, at most, the memory of routers that rest is given back: all others have to be looked at for it."""
COLLECT = 10
"""After so many rings the memory of their routers is given back."""


@dataclass(frozen=True)
class Case:
    """`ring_by_ring`: the neighbours' exchange of LKSs is computed for one ring after the other, and all routers'
    visits to the DKS after that. `rest_s`: see testbed.storm.world. `until_s`: the end, if not all is done before."""

    routers: int
    keying: str
    seed: int
    spread_s: float
    until_s: float
    service: Service = field(default_factory=Service)
    processes: int = 1
    ring_by_ring: bool = False
    rest_s: float | None = None
    rate: float = 500.0
    burst: int = 2000
    pim: bool = True
    """Whether PIM runs beside OSPF: a second group an interface and sender, and pairs with rendezvous points."""
    ospf: int = 2
    """The version of OSPF. With version 3 alone links have no IPv4 addresses, and routers speak IKE between their
    link-local ones."""

    @property
    def protocols(self) -> tuple[RoutingProtocol, ...]:
        own = VERSIONS[self.ospf]
        return (own, RoutingProtocol.PIM) if self.pim else (own,)

    @property
    def points(self) -> bool:
        """Whether rings have rendezvous points when the DKS is visited: routers that rest would answer no pair."""
        return self.rest_s is None

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
    gc.freeze()  # nor is what was there before
    began, cpu = time.monotonic(), time.process_time()
    share = (number, case.processes)
    rings = _neighbors(case, number) if case.ring_by_ring else None
    with using(Remembering()):
        mine = list(ring_routers(case.routers, SETTINGS[case.keying], case.protocols, share, points=case.points))
        boots = {name: when for _ring, routers in by_ring(mine) for name, when in _boots(case, routers).items()}
        boots[DKS] = _dks_boots(case, number)
        world = Storm(
            mine,
            case.seed * 1000 + number,
            case.service,
            apart=case.ring_by_ring,
            rest_s=case.rest_s,
            rate=case.rate,
            burst=case.burst,
            share=share,
        )
        world.power_returns(boots)
        tally, end = world.tally, case.until_s
        simulation = world.simulation
        freed = 0
        while simulation.now < end:
            simulation.run(min(end, simulation.now + STEP_S))
            if world.resting - freed > len(mine) / FREED:
                freed = world.resting
                gc.collect()  # the cores of these are computed no more
            if len(tally.admitted) == len(mine) and tally.complete and tally.paired:
                end = min(end, simulation.now + AFTER_S)
        world.close()
        if rings is not None:
            tally.add(rings)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Part(
        tally, len(mine), simulation.now, world.longest_queue, world.resting,
        time.process_time() - cpu, time.monotonic() - began, peak_mib,
    )  # fmt: skip


def _boots(case: Case, ring: Sequence[RingRouter]) -> dict[str, float]:
    """When each router of a ring boots."""
    chance = random.Random(f"boots of ring {ring[0].ring} {case.seed}")
    return {each.name: chance.uniform(0, case.spread_s) for each in ring}


def _dks_boots(case: Case, number: int) -> float:
    """When the DKS has read all documents of the domain."""
    chance = random.Random(f"boots of the DKS {number} {case.seed}")
    return chance.uniform(0, case.spread_s) + case.routers * case.service.document_ms / 1000


def _neighbors(case: Case, number: int) -> Tally:
    """The exchange of all neighbours, and of the pairs in a ring. A ring is computed until it has its keys, or the
    first of its routers may go to the DKS: no ring knows another, and until then none asks the DKS.
    """
    settings = SETTINGS[case.keying]
    counts = Tally({})
    rings = by_ring(ring_routers(case.routers, settings, case.protocols, (number, case.processes)))
    while some := list(itertools.islice(rings, COLLECT)):
        with using(Remembering()):  # what is remembered of rings that are over would be looked at with each collection
            for ring, routers in some:
                world = Storm(routers, case.seed * 1_000_000 + ring, case.service)
                world.power_returns(_boots(case, routers))
                tally = world.tally
                world.simulation.run(
                    settings.reconnect.first_min_s,
                    lambda tally=tally: tally.complete and tally.paired,  # type: ignore[misc]
                )
                world.close()
                counts.add(world.tally)
        del some, routers, world, tally
        gc.collect()
    return counts


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
    refused, retransmissions = (
        _added([each.refused for each in tallies]),
        _added([each.retransmissions for each in tallies]),
    )
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
            "repeats": sum(retransmissions.values()),
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


def _times(times: Sequence[float], of: int) -> dict[str, float | int | None]:
    """When the first half, 95 % and the last of all `of` had it; None where they did not."""

    def when(share: float) -> float | None:
        need = max(1, -(-int(share * 1000 * of) // 1000))
        return times[need - 1] if of and len(times) >= need else None

    return {"n": len(times), "of": of, "median": when(0.5), "p95": when(0.95), "last": when(1.0)}
