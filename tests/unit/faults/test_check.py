"""A plan is checked before anything is built."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.errors import InputError
from testbed.faults.check import check_plan, chosen_nodes
from testbed.faults.words import parse_fault
from testbed.record.plan import Plan
from testbed.topology.load import load


def plan(*steps: dict[str, Any], **fields: Any) -> Plan:
    settings = {"experiment": "test", "keying": "none", "duration_s": 10, **fields}
    return Plan(topology=load("ring:4"), timeline=steps, **settings)


def step(action: str, **args: Any) -> dict[str, Any]:
    return {"at_s": 1, "action": action, "args": args}


@pytest.mark.parametrize(
    "good",
    [
        step("power_off", nodes="all", dks=True),
        step("power_on", nodes=["r1"], jitter_s=2.5),
        step("link_admin_down", segment="r1--r2", side="r2"),
        step("link_netem", segment="r1--r2", delay_ms=5, loss_percent=1),
        step("partition", groups=[["r1", "r2"], ["r3"]]),
        step("clock_step", node="r1", seconds=-3600),
        step("mark", name="middle"),
    ],
)
def test_steps_that_can_be_done_pass(good: dict[str, Any]) -> None:
    check_plan(plan(good))


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (step("power_off", nodes=["r9"]), "there is no node 'r9'"),
        (step("power_off", nodes="r1"), "nodes is 'r1'"),
        (step("link_carrier_down"), "needs 'segment'"),
        (step("link_carrier_down", segment="r1-r2"), "there is no segment 'r1-r2'"),
        (step("link_admin_down", segment="r1--r2", side="r3"), "there is no side 'r3'"),
        (step("link_netem", segment="r1--r2", delay=5), "takes no 'delay'"),
        (step("link_netem", segment="r1--r2", delay_ms=-5), "-5 is no number"),
        (step("partition", groups=[["r1"], ["r1"]]), "'r1' is in two groups"),
        (step("mark", name=""), "name is ''"),
    ],
)
def test_steps_that_cannot_be_done_are_refused_with_their_place(bad: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        check_plan(plan(step("mark", name="first"), bad))
    assert problem in str(caught.value)
    assert "timeline[1]" in str(caught.value)


def test_unknown_keyings_captures_and_flow_ends_are_refused() -> None:
    for fields in (
        {"keying": "magic"},
        {"captures": ["r1-eth99"]},
        {"flows": [{"src": "r1", "dst": "r9", "rate_pps": 1}]},
    ):
        with pytest.raises(InputError):
            check_plan(plan(**fields))


def test_all_means_the_routers_and_the_dks_when_asked_for() -> None:
    assert chosen_nodes(plan(), {"nodes": "all"}) == ["r1", "r2", "r3", "r4"]
    assert chosen_nodes(plan(), {"nodes": "all", "dks": True}) == ["dks", "r1", "r2", "r3", "r4"]


def test_a_plan_survives_its_file(tmp_path: Any) -> None:
    before = plan(step("mark", name="x"), captures="all")
    before.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == before


def test_a_fault_is_read_as_it_is_typed() -> None:
    assert parse_fault(["power_on", "nodes=r1,r2", "jitter_s=2", "dks=true"]) == (
        "power_on",
        {"nodes": ["r1", "r2"], "jitter_s": 2.0, "dks": True},
    )
    assert parse_fault(["partition", "groups=r1,r2/r3"]) == ("partition", {"groups": [["r1", "r2"], ["r3"]]})
    assert parse_fault(["power_off", "nodes=all"]) == ("power_off", {"nodes": "all"})
