"""How long a removed router was accepted, of records made by hand: one SA too long anywhere is found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.record.plan import Plan
from testbed.runner.experiment import Table, find
from testbed.topology.load import load

RING = load("ring:6")
REVOCATION = find("revocation")
MODULE = sys.modules["experiment_revocation"]
REMOVED_S = {"DKS reachable": 100.0, "DKS down": 170.0, "isolated": 220.0}


def event(now_s: float, node: str, source: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"t": round(now_s * NS), "node": node, "source": source, "kind": kind, **more}


def measured(folder: Path, left_s: dict[str, float | None], unheard: str = "") -> Table:
    """A run in which every neighbour gave up a removed router so long after its removal; None: never."""
    plan = Plan(
        experiment="revocation", topology=RING, keying="lks", seed=1, duration_s=570, options=REVOCATION.options
    )
    plan.write(folder / "plan.json")
    events: list[dict[str, Any]] = []
    run = _opened(folder)
    whole = MODULE._domain(run)
    for case, router in MODULE.Choice(RING).removed().items():
        spi = f"{whole.router(router).spi.base:#010x}"
        events.append(event(REMOVED_S[case], router, "fault", "router_remove"))
        for each in RING.neighbors(router):
            if each.neighbor_router == unheard:
                continue
            fields = {"spi": spi, "direction": "in", "destination": "224.0.0.5"}
            events.append(event(50, each.neighbor_router, "agent", "sa", change="added", **fields))
            wait_s = left_s[case]
            if wait_s is not None:
                at_s = REMOVED_S[case] + wait_s
                events.append(event(at_s, each.neighbor_router, "agent", "sa", change="removed", **fields))
    _written(folder, events)
    return Table({"lks": [REVOCATION.measure(Run(folder))]})


def _written(folder: Path, events: list[dict[str, Any]]) -> None:
    events.sort(key=lambda each: each["t"])
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))


def _opened(folder: Path) -> Run:
    _written(folder, [event(0, "lab", "lab", "run_start")])
    return Run(folder)


def broken(table: Table) -> list[str]:
    return [each.text.split(":")[0] for each in REVOCATION.judge(table) if not each.ok]


def test_routers_that_are_given_up_within_the_bound_break_nothing(tmp_path: Path) -> None:
    table = measured(tmp_path, {"DKS reachable": 0.5, "DKS down": 0.1, "isolated": 200})
    assert broken(table) == []
    extra = table.measures["lks"][0].extra
    assert (
        extra["removed to last SA gone, DKS reachable, s"] == pytest.approx(0.5) and extra["bound, isolated, s"] == 240
    )


@pytest.mark.parametrize("case", list(REMOVED_S))
@pytest.mark.parametrize("late_s", [241.0, None])
def test_one_that_is_accepted_for_longer_or_to_the_end_is_found(
    tmp_path: Path, case: str, late_s: float | None
) -> None:
    times: dict[str, float | None] = dict.fromkeys(REMOVED_S, 0.5)
    assert broken(measured(tmp_path, {**times, case: late_s})) == [case]


def test_a_neighbour_that_never_heard_the_removed_router_proves_nothing(tmp_path: Path) -> None:
    unheard = RING.neighbors(MODULE.Choice(RING).first)[0].neighbor_router
    with pytest.raises(InputError, match="never heard"):
        measured(tmp_path, dict.fromkeys(REMOVED_S, 0.5), unheard=unheard)


def test_a_network_too_small_to_lose_three_routers_is_refused() -> None:
    with pytest.raises(InputError, match=r"removal|cut off"):
        MODULE.Choice(load("line:3"))
