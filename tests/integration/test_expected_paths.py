"""The routes that the analysis expects against those that FRR installs: random costs, LANs, areas. In the guest."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from net_lab import play

from testbed.topology.address import resolve
from testbed.topology.paths import expected_paths
from testbed.topology.resolved import Interface, Router, Topology
from testbed.topology.source import DksSource, LanSource, LinkSource, RouterSource, TopologySource

pytestmark = pytest.mark.guest


def lans_and_links(chance: Random) -> Topology:
    """A tree of links and two LANs over it; every interface has its own cost, so that equal-cost paths are many."""
    names = [f"r{number}" for number in range(chance.randint(4, 7))]
    pairs = {(names[chance.randrange(number)], names[number]) for number in range(1, len(names))}
    links = [LinkSource(between=list(pair)) for pair in sorted(pairs)]
    lans = {lan: LanSource(routers=chance.sample(names, chance.randint(2, len(names)))) for lan in ("east", "west")}
    source = TopologySource(routers=dict.fromkeys(names, RouterSource()), links=links, lans=lans)
    topology = resolve(source, "mixed")

    def priced(interface: Interface) -> Interface:
        return interface.model_copy(update={"cost": chance.randint(1, 4)})

    def with_costs(router: Router) -> Router:
        return router.model_copy(update={"interfaces": tuple(map(priced, router.interfaces))})

    return topology.model_copy(update={"routers": {name: with_costs(r) for name, r in topology.routers.items()}})


def three_areas(chance: Random) -> Topology:
    """A backbone ring, and two areas that each hang on it at two border routers."""

    def link(one: str, other: str, area: int) -> LinkSource:
        return LinkSource(between=[one, other], area=area, costs=[chance.randint(1, 3), chance.randint(1, 3)])

    borders = [f"b{number}" for number in range(4)]
    links = [link(borders[number - 1], borders[number], 0) for number in range(4)]
    for area in (1, 2):
        inner = [f"x{area}{number}" for number in range(3)]
        links += [link(one, other, area) for one, other in pairwise(inner)]
        links += [link(chance.choice(inner), border, area) for border in chance.sample(borders, 2)]
    return resolve(TopologySource(links=links, dks=DksSource(attach="x20")), "areas")


def side_by_side(chance: Random) -> Topology:
    """A ring with one to three links between neighbours, of few different costs, under names that need a mapping."""
    names = ["core-ams-01.example", "core-lon-02.example", "r3", "edge.nyc.example"]
    links = [
        LinkSource(between=[one, other], costs=[chance.randint(1, 2), chance.randint(1, 2)])
        for one, other in zip(names, [*names[1:], names[0]], strict=True)
        for _ in range(chance.randint(1, 3))
    ]
    return resolve(TopologySource(links=links), "side-by-side")


# In 5, 12 and 36 some router reaches a LAN at the same cost directly and through a neighbour.
@pytest.mark.parametrize(
    ("make", "seed"),
    [
        (lans_and_links, 5),
        (lans_and_links, 12),
        (lans_and_links, 36),
        (three_areas, 1),
        (three_areas, 2),
        (side_by_side, 1),
        (side_by_side, 2),
    ],
)
def test_frr_installs_exactly_the_expected_routes(
    make: Callable[[Random], Topology], seed: int, tmp_path: Path
) -> None:
    played = play(tmp_path, make(Random(f"paths {seed}")), duration_s=90)
    assert played.code == 0
    for router, routes in expected_paths(played.plan.topology).items():
        wanted = {str(prefix): frozenset(map(str, hops)) for prefix, hops in routes.items()}
        assert played.routes_at_end(router) == wanted, router
