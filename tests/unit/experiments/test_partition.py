"""The partition, of records made by hand: what is lost inside a half counts, what is cut does not."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import networkx
import pytest

from testbed.analysis.measures import Adjacencies
from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.runner.experiment import Measures, Table, find
from testbed.topology.load import load

UP = Adjacencies(8, 8)

RING = load("ring:6")
partition = sys.modules[type(find("partition")).__module__]
NEAR, FAR = partition.sides(RING)
GONE = partition.stolen(RING)
LEFT = [name for name in FAR if name != GONE]
DURING = partition.CUT_S + 50


def state(now_s: float, node: str, other: str, word: str) -> dict[str, Any]:
    """What ospfd of one router says of a neighbour."""
    (end,) = [each for each in RING.neighbors(node) if each.neighbor_router == other]
    return {
        "t": round(now_s * NS), "node": node, "source": "frr", "kind": "adjacency", "daemon": "ospfd",
        "ifname": end.interface.name, "neighbor": str(RING.routers[other].router_id), "state": word,
    }  # fmt: skip


def agent(now_s: float, node: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"t": round(now_s * NS), "node": node, "source": "agent", "kind": kind, **fields}


def run_of(folder: Path, *events: dict[str, Any]) -> Run:
    find("partition").plan(RING, "lks", 1, {}).write(folder / "plan.json")
    marks = [
        {"t": round(step.at_s * NS), "node": "lab", "source": "lab", "kind": "mark", "name": step.args["name"]}
        for step in find("partition").timeline(RING, random.Random(0))
        if step.action == "mark"
    ]
    record = sorted([*marks, *events], key=lambda each: each["t"])
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in record))
    return Run(folder)


def border() -> tuple[str, str]:
    return next((name, each.neighbor_router) for name in NEAR for each in RING.neighbors(name)
                if each.neighbor_router in FAR)  # fmt: skip


@pytest.mark.parametrize("name", ["ring:6", "ring:20", "abilene", "nsfnet"])
def test_both_halves_hang_together_and_every_node_is_in_one(name: str) -> None:
    topology = load(name)
    near, far = partition.sides(topology)
    assert topology.dks.router in near
    assert sorted([*near, *far]) == sorted(topology.routers)
    for part in (near, far):
        inside = topology.graph().subgraph(part)
        assert len(part) >= 2
        assert networkx.is_connected(inside)
    gone = partition.stolen(topology)
    assert gone in far
    for part in (set(far), set(topology.routers)):
        assert networkx.is_connected(topology.graph().subgraph(part - {gone}))
    check_plan(find("partition").plan(topology, "lks", 1, {}))


def test_a_network_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(InputError, match="two connected halves"):
        partition.sides(load("line:2"))


def test_an_adjacency_across_the_cut_is_not_lost_and_one_inside_a_half_is(tmp_path: Path) -> None:
    one, other = border()
    run = run_of(
        tmp_path, state(10, one, other, "Full"), state(DURING, one, other, "Down"),
        state(10, LEFT[0], LEFT[1], "Full"), state(DURING, LEFT[0], LEFT[1], "Down"),
        state(10, LEFT[0], GONE, "Full"), state(DURING, LEFT[0], GONE, "Down"),
    )  # fmt: skip
    since, until = run.mark(partition.CUT), 700 * NS
    assert partition.losses(run, NEAR, since, until) == 0
    assert partition.losses(run, FAR, since, until) == 1


def test_a_generation_counts_once_where_it_was_made_and_while_cut_only(tmp_path: Path) -> None:
    group = f"example/{FAR[0]}/eth0/ospf"
    run = run_of(
        tmp_path,
        agent(DURING, FAR[0], "rekeyed", group=group, generation=3),
        agent(DURING + 1, FAR[0], "rekeyed", group=group, generation=3),
        agent(DURING, "dks", "rekeyed", group=group, generation=4),
        agent(partition.CUT_S - 1, FAR[0], "rekeyed", group=group, generation=2),
    )
    since, until = run.mark(partition.CUT), run.mark(partition.HEALED)
    made = [partition.rekeys(run, makers, since, until) for makers in (FAR, [*NEAR, "dks"])]
    assert made == [1, 1]


def test_a_router_has_the_policy_when_it_acts_under_that_version_or_a_newer_one(tmp_path: Path) -> None:
    run = run_of(
        tmp_path, agent(1, "r1", "policy", version=1), agent(300, "r1", "policy", version=3),
        agent(200, "dks", "policy", router="r1", version=2),
    )  # fmt: skip
    assert partition.policy_at(run, "r1", 2) == 300 * NS
    assert partition.policy_at(run, "r1", 4) is None


def test_the_newest_policy_is_what_the_dks_had_for_each_router_before_the_cut_healed(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        agent(200, "dks", "policy", router="r1", version=3), agent(190, "dks", "policy", router="r1", version=2),
        agent(partition.HEAL_S + 11, "dks", "policy", router="r1", version=9), agent(200, "r2", "policy", version=7),
    )  # fmt: skip
    assert partition.handed(run, run.mark(partition.HEALED)) == {"r1": 3}


def test_a_list_of_nobody_is_no_news_of_a_revocation(tmp_path: Path) -> None:
    run = run_of(tmp_path, agent(1, "r1", "revocation", version=0), agent(290, "r1", "revocation", version=1))
    assert partition.revocation_at(run, "r1") == 290 * NS
    assert partition.revocation_at(run, "r2") is None


@pytest.mark.parametrize(
    ("when", "seconds"), [({"a": 5 * NS, "b": 12 * NS}, 2.0), ({"a": 5 * NS}, 0.0), ({"a": 5 * NS, "b": None}, None)]
)
def test_all_have_heard_when_the_last_one_has(when: dict[str, int | None], seconds: float | None) -> None:
    assert partition.last(when, 10 * NS) == seconds


def test_an_interface_whose_last_outbound_sa_went_before_is_without_a_key(tmp_path: Path) -> None:
    one, other = LEFT[:2]
    (mine,) = [each.interface.name for each in RING.neighbors(one) if each.neighbor_router == other]
    (its,) = [each.interface.name for each in RING.neighbors(other) if each.neighbor_router == one]

    def sa(now_s: float, node: str, interface: str, spi: str, change: str, direction: str = "out") -> dict[str, Any]:
        words = {"spi": spi, "destination": "224.0.0.5", "interface": interface, "change": change}
        return agent(now_s, node, "sa", direction=direction, **words)

    run = run_of(
        tmp_path,
        sa(1, one, mine, "0x1", "added"), sa(2, one, mine, "0x2", "added"), sa(3, one, mine, "0x1", "removed"),
        sa(1, other, its, "0x3", "added"), sa(4, other, its, "0x3", "removed"), sa(5, other, its, "0x9", "added", "in"),
    )  # fmt: skip
    assert [partition.bare(run, LEFT, moment * NS) for moment in (3, 4)] == [0, 1]


GOOD = {
    partition.NEAR: 0.0, partition.FAR: 0.0, partition.REKEYS_FAR: 9.0, partition.BARE: 0.0, partition.STEPS: 1.0,
    partition.EARLY: 0.0, partition.LATE: 0.0, partition.AGREE: 0.7, partition.HEARD: 1.0, partition.HELD: 0.0,
    "SAs compared": 20.0, partition.BESIDE: 0.0, **dict.fromkeys(partition.WRONG, 0.0),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (partition.NEAR, 1.0), (partition.FAR, 2.0), (partition.REKEYS_FAR, 0.0), (partition.BARE, 1.0),
        (partition.STEPS, 0.0), (partition.EARLY, 1.0), (partition.LATE, 1.0), (partition.AGREE, None),
        (partition.AGREE, 11.0), (partition.HEARD, None), (partition.HELD, 1.0), ("SAs compared", 0.0),
        (partition.BESIDE, 1.0), *((name, 1.0) for name in partition.WRONG),
    ],
)  # fmt: skip
def test_each_thing_that_must_not_be_fails_one_criterion(name: str, value: float | None) -> None:
    def judged(extra: dict[str, float | None]) -> list[bool]:
        return [each.ok for each in find("partition").judge(Table({"dks-lks": [Measures(10.0, UP, extra=extra)]}))]

    assert all(judged(GOOD))
    assert judged(GOOD | {name: value}).count(False) == 1


def test_the_figure_shows_the_first_seed_of_each_mode_that_was_told_something(tmp_path: Path) -> None:
    told = [agent(182, "dks", "policy", router=name, version=2) for name in RING.routers]
    had = [agent(500, name, "policy", version=2) for name in RING.routers]
    (tmp_path / "told").mkdir()
    (tmp_path / "silent").mkdir()
    runs = [run_of(tmp_path / "told", *told, *had), run_of(tmp_path / "silent")]
    (drawn,) = find("partition").draw(tmp_path, runs)
    assert (tmp_path / f"{drawn.name}.svg").read_text().count("</svg>") == 1
    assert find("partition").draw(tmp_path, runs[1:]) == []
