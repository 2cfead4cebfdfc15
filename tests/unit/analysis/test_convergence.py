"""Convergence as it is defined, on records made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from testbed.analysis import adjacency
from testbed.analysis.convergence import converged_at, phases
from testbed.topology.load import load
from testbed.topology.paths import expected_paths
from testbed.topology.resolved import Topology

LINE = load("line:3")
RING = load("ring")


def route(t: int, node: str, dst: str, *hops: str, kind: str = "add") -> dict[str, Any]:
    nexthops = [{"via": hop, "dev": "x"} for hop in hops]
    return {"t": t, "node": node, "source": "route", "kind": kind, "dst": dst, "nexthops": nexthops}


def all_routes(topology: Topology, t: int = 1) -> list[dict[str, Any]]:
    own = {router.loopback.network for router in topology.routers.values()}
    return [
        route(t, node, str(prefix), *map(str, hops))
        for node, table in expected_paths(topology).items()
        for prefix, hops in table.items()
        if prefix in own
    ]


def test_the_last_route_to_become_right_is_the_moment_of_convergence() -> None:
    events = all_routes(LINE)
    events[-1]["t"] = 7
    assert converged_at(LINE, events, expected_paths(LINE)) == 7


def test_a_route_that_never_comes_means_never() -> None:
    events = all_routes(LINE)[:-1]
    assert converged_at(LINE, events, expected_paths(LINE)) is None


def test_a_route_that_flaps_counts_from_its_last_return() -> None:
    events = all_routes(LINE)
    last = dict(events[0])
    events += [{**last, "t": 20, "kind": "del"}, {**last, "t": 25}]
    assert converged_at(LINE, events, expected_paths(LINE)) == 25
    assert converged_at(LINE, events, expected_paths(LINE), until=22) is None
    assert converged_at(LINE, events, expected_paths(LINE), until=10) == 1


def test_one_of_two_equal_next_hops_is_not_enough() -> None:
    events = all_routes(RING)
    twofold = next(event for event in events if len(event["nexthops"]) == 2)
    twofold["nexthops"] = twofold["nexthops"][:1]
    assert converged_at(RING, events, expected_paths(RING)) is None


def test_routes_beside_loopbacks_and_ones_own_loopback_do_not_matter() -> None:
    events = [*all_routes(LINE), route(5, "r1", "10.64.0.4/30", "10.64.0.2"), route(6, "r1", "10.0.0.1/32", "1.2.3.4")]
    events.append(route(9, "r1", "fd00::2/128", "fe80::1"))
    assert converged_at(LINE, events, expected_paths(LINE)) == 1


@given(some.data())
def test_the_order_of_lines_of_one_moment_changes_nothing(data: some.DataObject) -> None:
    """Of different routes, that is: two lines of one route are a history even within a nanosecond."""
    routes = all_routes(RING)
    blinks = data.draw(some.lists(some.tuples(some.integers(2, 4), some.sampled_from(range(len(routes)))), unique=True))
    kinds = data.draw(some.lists(some.sampled_from(["add", "del"]), min_size=len(blinks), max_size=len(blinks)))
    events = [*routes, *({**routes[n], "t": t, "kind": kind} for (t, n), kind in zip(blinks, kinds, strict=True))]
    events.sort(key=lambda event: event["t"])
    shuffled = sorted(data.draw(some.permutations(events)), key=lambda event: event["t"])
    assert converged_at(RING, shuffled, expected_paths(RING)) == converged_at(RING, events, expected_paths(RING))
    changes = {3: expected_paths(RING, frozenset({"r1--r2"})), 4: expected_paths(RING)}
    assert phases(RING, shuffled, changes) == phases(RING, events, changes)


def test_each_change_of_what_is_wanted_has_its_own_convergence() -> None:
    cut = frozenset({"r2--r3"})
    events = all_routes(LINE)
    gone = [event for event in all_routes(LINE) if event["dst"] == "10.0.0.3/32" or event["node"] == "r3"]
    events += [{**event, "t": 15, "kind": "del"} for event in gone] + [{**event, "t": 33} for event in gone]
    wanted = {10: expected_paths(LINE, cut), 30: expected_paths(LINE)}
    assert phases(LINE, events, wanted) == [(10, 15), (30, 33)]


def frr(t: int, node: str, neighbor: str, state: str, topology: Topology = LINE, segment: str = "") -> dict[str, Any]:
    """FRR's word of a neighbour on the segment, or on the only one that they share."""
    address = str(topology.routers[neighbor].router_id)
    (ifname,) = (
        near.interface.name
        for near in topology.neighbors(node)
        if near.neighbor_router == neighbor and segment in ("", near.interface.segment)
    )
    return {
        "t": t, "node": node, "source": "frr", "kind": "adjacency", "daemon": "ospfd", "ifname": ifname,
        "neighbor": address, "state": state,
    }  # fmt: skip


def test_an_adjacency_is_up_when_it_is_full_and_down_when_its_router_loses_power() -> None:
    events = [frr(1, "r1", "r2", "ExStart"), frr(2, "r1", "r2", "Full"), frr(2, "r2", "r1", "Full")]
    assert adjacency.up_at_end(LINE, events) == 2
    events.append({"t": 5, "node": "r1", "source": "fault", "kind": "power_off"})
    assert adjacency.up_at_end(LINE, events) == 1
    assert adjacency.losses(LINE, events, 0, 9) == 1
    assert len(adjacency.expected(LINE)) == 4


def test_two_routers_of_a_lan_that_are_not_designated_need_no_full_adjacency() -> None:
    lan = load("lan:4")
    assert adjacency.up_at_end(lan, [frr(1, "r1", "r2", "2-Way", lan)]) == 1


def test_an_election_on_a_lan_that_makes_more_of_a_neighbour_loses_no_adjacency() -> None:
    lan = load("lan:4")

    def steps(*states: str) -> list[dict[str, object]]:
        pairs = zip(("Down", *states), states, strict=False)
        return [frr(n, "r1", "r2", state, lan) | {"old": old} for n, (old, state) in enumerate(pairs, 1)]

    assert adjacency.losses(lan, steps("2-Way", "ExStart", "Exchange", "Loading", "Full"), 0, 9) == 0
    assert adjacency.losses(lan, steps("2-Way", "ExStart", "Init"), 0, 9) == 1
    assert adjacency.losses(lan, steps("Full", "ExStart", "Exchange", "Full"), 0, 9) == 1
    assert adjacency.losses(lan, steps("Full", "2-Way"), 0, 9) == 0
    # When it is up is another question: until it is Full again it is of no use to the new designated router.
    assert adjacency.up_at_end(lan, steps("2-Way", "ExStart")) == 0


def test_a_link_and_a_lan_between_the_same_routers_are_two_adjacencies(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("links: [a-b]\nlans: {office: [a, b, c]}\ndks: {attach: c}\n")
    twice = load(str(tmp_path / "twice.yaml"))
    assert len(adjacency.expected(twice)) == 8
    up = [frr(1, "a", "b", "Full", twice, segment) for segment in ("a--b", "office")]
    assert adjacency.up_at_end(twice, up) == 2
    for gone, stays in (("a--b", "office"), ("office", "a--b")):
        events = [*up, frr(5, "a", "b", "Down", twice, gone), frr(6, "a", "b", "Full", twice, stays)]
        assert adjacency.up_at_end(twice, events) == 1
        assert adjacency.losses(twice, events, 0, 9) == 1
