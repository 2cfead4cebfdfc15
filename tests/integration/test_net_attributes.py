"""MTU, jitter, priority, types of areas and passive ends: FRR does what the analysis expects of them. In the guest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from net_lab import Played, from_yaml, in_engine, play

from testbed.analysis.adjacency import Ends, expected, up_at_end
from testbed.inside.engine import Engine
from testbed.record.plan import Plan
from testbed.topology.paths import expected_paths
from tests.integration.net_lab import read_record

pytestmark = pytest.mark.guest

# b0 and b1 are border routers; behind them a stub area, a totally stubby one and two that are not so stubby.
AREAS = """
ospf: {areas: {1: stub, 2: totally-stubby, 3: nssa, 4: totally-nssa}}
links:
  - {between: [b0, b1], costs: [5, 50]}
  - {between: [b0, s], area: 1}
  - {between: [b1, s], area: 1}
  - {between: [b0, t], area: 2, cost: 20}
  - {between: [b1, t], area: 2, cost: 20}
  - {between: [t, t2], area: 2}
  - {between: [b1, n], area: 3}
  - {between: [b1, m], area: 4}
dks: {attach: b0}
"""

# Of each of these pairs no adjacency comes up, over whichever version of OSPF; the others do.
HINDERED = """
ospf: {versions: [2, 3], areas: {1: stub}}
routers: {a: , b: , c: , d: , e: {areas: {1: normal}}, f: , g: }
links:
  - {between: [a, b], mtu: 1280, delay: 5ms, jitter: 2ms}
  - {between: [a, c], mtu: [1400, 1500]}
  - {between: [a, d], passive: [d]}
  - {between: [a, e], area: 1}
  - {between: [b, g], mtu: 9000}
lans:
  silent: {routers: [b, c, d], priority: {b: 0, c: 0, d: 0}}
  office: {routers: [b, f, g], priority: {g: 0, f: 7}}
  small: {routers: [c, d, e, f], mtu: {d: 1400}}
dks: {attach: a}
"""


def assert_routes(played: Played) -> None:
    for router, routes in expected_paths(played.plan.topology).items():
        wanted = {str(prefix): frozenset(map(str, hops)) for prefix, hops in routes.items()}
        assert played.routes_at_end(router) == wanted, router


def test_types_of_areas_give_the_routes_that_are_expected(tmp_path: Path) -> None:
    played = play(tmp_path, from_yaml(tmp_path, AREAS), duration_s=90)
    assert played.code == 0
    assert_routes(played)
    assert played.routes_at_end("t2").keys() >= {"0.0.0.0/0"}


def test_what_the_topology_hinders_does_not_come_up_and_all_else_does(tmp_path: Path) -> None:
    topology = from_yaml(tmp_path, HINDERED)

    def look(engine: Engine) -> None:
        up: dict[str, set[Ends]] = {"ospfd": set(), "ospf6d": set()}
        names = {str(router.router_id): name for name, router in topology.routers.items()}
        for router in engine.lab.routers:
            with router.vty("ospfd") as vty:
                for number, told in vty.json("show ip ospf neighbor json")["neighbors"].items():
                    for each in told:
                        if each["nbrState"].startswith("Full"):
                            up["ospfd"].add(Ends(router.name, each["ifaceName"].split(":")[0], names[number]))
            with router.vty("ospf6d") as vty:
                for each in vty.json("show ipv6 ospf6 neighbor json")["neighbors"]:
                    if each["state"] == "Full":
                        up["ospf6d"].add(Ends(router.name, each["interfaceName"], names[each["neighborId"]]))
        wanted = expected(topology)
        assert up["ospfd"] == wanted
        assert up["ospf6d"] == wanted
        shown = engine.lab.router("f").vty("ospfd").json("show ip ospf interface json")["interfaces"]
        office = next(each.name for each in topology.routers["f"].interfaces if each.segment == "office")
        assert shown[office]["state"] == "DR"
        assert "mtu 1280" in engine.lab.router("a").run("ip", "link", "show", topology.routers["a"].interfaces[0].name)
        engine.lab.node("b").run(
            "ping", "-c1", "-M", "do", "-s", "8900", str(topology.routers["g"].interfaces[0].ipv4.ip)
        )

    in_engine(tmp_path, topology, 90.0, look)
    played = Played(0, read_record(tmp_path / "record.jsonl"), tmp_path, Plan.read(tmp_path / "plan.json"))
    assert up_at_end(topology, played.events) == len(expected(topology))
    assert_routes(played)


def test_routers_are_keyed_over_the_smallest_mtu(tmp_path: Path) -> None:
    text = "ospf: {versions: [2, 3]}\nlinks: [{between: [a, b], mtu: 1280}]\n"
    played = play(tmp_path, from_yaml(tmp_path, text), keying="lks")
    for daemon in ("ospfd", "ospf6d"):
        assert len(played.adjacency(daemon, "Full")) == 2
