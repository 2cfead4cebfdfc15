"""The partition, of records made by hand: what is lost inside a half counts, what is cut does not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import networkx
import pytest

from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.runner.experiment import find
from testbed.topology.load import load

RING = load("ring:6")
partition = sys.modules[type(find("partition")).__module__]
NEAR, FAR = partition.sides(RING)
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
        for step in find("partition").timeline(RING, None)  # type: ignore[arg-type]
        if step.action.value == "mark"
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
    check_plan(find("partition").plan(topology, "lks", 1, {}))


def test_a_network_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(InputError, match="two halves"):
        partition.sides(load("line:2"))


def test_an_adjacency_across_the_cut_is_not_lost_and_one_inside_a_half_is(tmp_path: Path) -> None:
    one, other = border()
    run = run_of(
        tmp_path, state(10, one, other, "Full"), state(DURING, one, other, "Down"),
        state(10, FAR[0], FAR[1], "Full"), state(DURING, FAR[0], FAR[1], "Down"),
    )  # fmt: skip
    since, until = run.mark(partition.CUT), 700 * NS
    assert partition.losses(run, NEAR, since, until) == 0
    assert partition.losses(run, FAR, since, until) == 1


def test_a_rekey_counts_once_for_the_side_of_its_speaker_and_while_cut_only(tmp_path: Path) -> None:
    group = f"example/{FAR[0]}/eth0/ospf"
    run = run_of(
        tmp_path,
        agent(DURING, FAR[0], "rekeyed", group=group, generation=3),
        agent(DURING, "dks", "rekeyed", group=group, generation=3),
        agent(partition.CUT_S - 1, FAR[0], "rekeyed", group=group, generation=2),
    )
    since, until = run.mark(partition.CUT), run.mark(partition.HEALED)
    assert (partition.rekeys(run, FAR, since, until), partition.rekeys(run, NEAR, since, until)) == (1, 0)


def test_a_router_has_the_policy_when_it_acts_under_that_version_or_a_newer_one(tmp_path: Path) -> None:
    run = run_of(
        tmp_path, agent(1, "r1", "policy", version=1), agent(300, "r1", "policy", version=3),
        agent(200, "dks", "policy", router="r1", version=2),
    )  # fmt: skip
    assert partition.policy_at(run, "r1", 2) == 300 * NS
    assert partition.policy_at(run, "r1", 4) is None
