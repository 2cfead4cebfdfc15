"""Which multicast trees are right, by routes made by hand as FRR's kernels had them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.run import NS, Run
from testbed.analysis.trees import Watch, expected, watch
from testbed.record.plan import Plan, Stream
from testbed.topology.load import load
from testbed.topology.resolved import Topology

RING = """
pim: {rp: r3}
links: [r1-r2, r2-r3, r3-r4, r4-r1, r3-r5]
hosts:
  src: {on: r1}
  near: {on: r4}
  far: {on: r5}
"""
ANY = Stream(name="any", source="src", group="239.1.1.1", receivers=("near", "far"), rate_pps=10)
ONE = Stream(name="one", source="src", group="232.1.1.1", receivers=("near", "far"), rate_pps=10, specific=True)
NOTHING = frozenset[str]()


@pytest.fixture(name="ring")
def the_ring(tmp_path: Path) -> Topology:
    (tmp_path / "ring.yaml").write_text(RING)
    return load(str(tmp_path / "ring.yaml"))


def route(t: int, node: str, origin: str, group: str, iif: str | None, *oifs: str, kind: str = "add") -> dict[str, Any]:
    return {
        "t": t, "node": node, "source": "mroute", "kind": kind, "origin": origin, "group": group, "iif": iif,
        "oifs": list(oifs),
    }  # fmt: skip


def end(topology: Topology, node: str, other: str) -> str:
    """The router's interface to a neighbour or a host."""
    for interface in topology.routers[node].interfaces:
        if any(member == other for member, _name in topology.segments[interface.segment].members):
            return interface.name
    raise KeyError(other)


def branches(ring: Topology, group: str, *paths: str, origin: str = "", t: int = 1) -> list[dict[str, Any]]:
    """The routes of a tree, written as "src r1 r4 near": each router takes it from the one before."""
    taken: dict[str, tuple[str, list[str]]] = {}
    for path in paths:
        nodes = path.split()
        for before, node, after in zip(nodes, nodes[1:], nodes[2:], strict=False):
            iif = before if before in ("lo", "pimreg") else end(ring, node, before)
            out = taken.setdefault(node, (iif, []))[1]
            if end(ring, node, after) not in out:
                out.append(end(ring, node, after))
    origin = origin or str(ring.hosts["src"].ipv4.ip)
    return [route(t, node, origin, group, iif, *out) for node, (iif, out) in taken.items()]


def shared(ring: Topology, t: int = 1) -> list[dict[str, Any]]:
    """The shared tree as FRR's kernels have it: a (*, G) route sends back to where it takes from, and to pimreg."""
    watch = branches(ring, ANY.group, "lo r3 r4 near", "lo r3 r5 far", origin="*", t=t)
    return [{**each, "oifs": ["pimreg", each["iif"], *each["oifs"]]} for each in watch]


def whole(ring: Topology, group: str, t: int = 1) -> list[dict[str, Any]]:
    return branches(ring, group, "src r1 r4 near", "src r1 r2 r3 r5 far", t=t)


def seen(ring: Topology, *events: dict[str, Any], down: frozenset[str] = NOTHING, streams: Any = (ANY, ONE)) -> Watch:
    watch = Watch()
    watch.expect(expected(ring, streams, down), 0)
    for event in events:
        watch.see(event)
    return watch


def test_the_trees_that_frr_built_are_right_from_the_last_route_on(ring: Topology) -> None:
    watch = seen(ring, *shared(ring, 3), *whole(ring, ONE.group, 4), *whole(ring, ANY.group, 9))
    assert (watch.faults(), watch.since, watch.spare) == ([], 9, 0)


def test_either_of_two_equal_ways_is_right_and_a_longer_one_is_not(ring: Topology) -> None:
    other = branches(ring, ONE.group, "src r1 r4 near", "src r1 r4 r3 r5 far")
    assert seen(ring, *other, streams=[ONE]).since == 1
    longer = branches(ring, ONE.group, "src r1 r2 r3 r4 near", "src r1 r2 r3 r5 far")
    watch = seen(ring, *longer, streams=[ONE])
    assert watch.since is None
    assert watch.faults() == [f"({ring.hosts['src'].ipv4.ip}, 232.1.1.1): r4 takes it from r4-eth0, not from r4-eth1"]


def test_a_tree_is_wrong_while_a_router_on_it_has_no_route_or_does_not_send_on(ring: Topology) -> None:
    routes = whole(ring, ONE.group)
    without = [each for each in routes if each["node"] != "r2"]
    assert any(fault.endswith("fed by no router") for fault in seen(ring, *without, streams=[ONE]).faults())
    mute = [{**each, "oifs": []} if each["node"] == "r5" else each for each in routes]
    assert any("fed by no router" in fault for fault in seen(ring, *mute, streams=[ONE]).faults())
    unresolved = [{**each, "iif": None} if each["node"] == "r1" else each for each in routes]
    assert seen(ring, *unresolved, streams=[ONE]).since is None


def test_two_routers_that_feed_one_lan_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "lan.yaml").write_text(
        "pim: {rp: a}\nlans: {office: [b, c, d]}\nlinks: [a-b, a-c]\nhosts: {src: {on: a}, sink: {on: d}}\n"
    )
    lan = load(str(tmp_path / "lan.yaml"))
    stream = Stream(name="s", source="src", group="232.1.1.1", receivers=("sink",), rate_pps=1, specific=True)
    assert seen(lan, *branches(lan, stream.group, "src a b d sink"), streams=[stream]).since == 1
    assert seen(lan, *branches(lan, stream.group, "src a c d sink"), streams=[stream]).since == 1
    twice = branches(lan, stream.group, "src a b d sink", "src a c d sink")
    assert seen(lan, *twice, streams=[stream]).faults() == ["(10.32.0.2, 232.1.1.1): office: fed by b, c"]


def test_a_branch_that_nobody_wants_is_counted_and_not_wrong(ring: Topology) -> None:
    left = branches(ring, ONE.group, "src r1 r4 near", "src r1 r4 r3", "src r1 r2 r3 r5 far")
    watch = seen(ring, *left, streams=[ONE])
    assert (watch.faults(), watch.since, watch.spare) == ([], 1, 1)


def test_a_router_that_loses_power_has_no_routes_and_a_tree_is_right_without_it(ring: Topology) -> None:
    gone = {"t": 20, "node": "r4", "source": "fault", "kind": "power_off"}
    watch = seen(ring, *whole(ring, ONE.group), gone, streams=[ONE])
    assert watch.since is None
    watch.expect(expected(ring, [ONE], frozenset({"r4"})), 21)
    assert (watch.since, watch.faults()) == (21, []), "far is served, and nobody can reach near"


def test_a_router_may_be_root_and_receiver_itself(ring: Topology) -> None:
    stream = Stream(name="s", source="r2", group="232.1.1.1", receivers=("r5", "r3"), rate_pps=1, specific=True)
    address = str(ring.routers["r2"].loopback.ip)
    routes = branches(ring, stream.group, "lo r2 r3 r5", origin=address)
    routes += [route(5, "r5", address, stream.group, end(ring, "r5", "r3"), "receivers")]
    routes[1]["oifs"].append("receivers")
    assert seen(ring, *routes[:-1], streams=[stream]).faults()[0].endswith("r5's receivers: fed by no router")
    assert seen(ring, *routes, streams=[stream]).since == 5


def test_trees_of_a_record_are_wanted_once_their_streams_run_and_each_change_has_its_own_moment(
    ring: Topology, tmp_path: Path
) -> None:
    late = ANY.model_copy(update={"since_s": 10.0})
    Plan(experiment="x", topology=ring, keying="none", duration_s=90, streams=(late,)).write(tmp_path / "plan.json")
    r4_off = {"t": 40 * NS, "node": "r4", "source": "fault", "kind": "power_off"}
    again = [each for each in (*shared(ring), *whole(ring, ANY.group)) if each["node"] == "r4"]
    events = [
        {"t": 2 * NS, "node": "lab", "source": "lab", "kind": "ready"},
        *shared(ring, 5 * NS), *whole(ring, ANY.group, 14 * NS), r4_off,
        *({**each, "t": 60 * NS} for each in again), {"t": 90 * NS, "node": "lab", "source": "lab", "kind": "run_end"},
    ]  # fmt: skip
    (tmp_path / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    changes = {2 * NS: NOTHING, 40 * NS: frozenset({"r4"}), 50 * NS: NOTHING}
    assert [(moment // NS, watch.since) for moment, watch in watch(Run(tmp_path), changes)] == [
        (2, 14 * NS), (40, 40 * NS), (50, 60 * NS)
    ]  # fmt: skip
