"""The DKS's outage, of records made by hand: each thing that must not be is found, and the cut link is not blamed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from testbed.analysis.counters import grown
from testbed.analysis.links import most_used_link
from testbed.analysis.run import NS, Run
from testbed.record.plan import Plan
from testbed.runner.experiment import find
from testbed.topology.load import load

RING = load("ring:4")
outage = sys.modules[type(find("dks_outage")).__module__]
LINK = most_used_link(RING)
OTHER = next(name for name, each in RING.segments.items() if each.kind != "stub" and name != LINK)
DURING_CUT = outage.CUT_S + 1


def state(now_s: float, link: str, word: str) -> dict[str, Any]:
    """What ospfd of one end of a link says of the other."""
    (node, interface), (other, _) = RING.segments[link].members
    return {
        "t": round(now_s * NS), "node": node, "source": "frr", "kind": "adjacency", "daemon": "ospfd",
        "ifname": interface, "neighbor": str(RING.routers[other].router_id), "state": word,
    }  # fmt: skip


def stat(now_s: float, at: str, **counters: int) -> dict[str, Any]:
    return {"t": round(now_s * NS), "node": "r1", "source": "xfrm", "kind": "stat", "at": at, "counters": counters}


def run_of(folder: Path, *events: dict[str, Any]) -> Run:
    Plan(experiment="dks_outage", topology=RING, keying="dks-lks", seed=1, duration_s=960).write(folder / "plan.json")
    marks = [
        {"t": step.at_s * NS, "node": "lab", "source": "lab", "kind": "mark", "name": step.args["name"]}
        for step in find("dks_outage").timeline(RING, None)  # type: ignore[arg-type]
        if step.action == "mark"
    ]
    record = sorted([*marks, *events], key=lambda each: each["t"])
    (folder / "record.jsonl").write_text("".join(json.dumps({**each, "t": int(each["t"])}) + "\n" for each in record))
    return Run(folder)


def lost(folder: Path, *events: dict[str, Any]) -> int:
    up = [state(10, LINK, "Full"), state(10, OTHER, "Full")]
    run = run_of(folder, *up, *events, state(950, OTHER, "Init"))
    return outage.losses(run, LINK, run.mark(outage.DEAD), 940 * NS)  # type: ignore[no-any-return]


def test_an_adjacency_that_goes_down_over_the_cut_link_is_not_lost(tmp_path: Path) -> None:
    assert lost(tmp_path, state(DURING_CUT, LINK, "Down")) == 0


def test_one_that_goes_down_elsewhere_or_at_another_time_is_lost(tmp_path: Path) -> None:
    assert lost(tmp_path, state(DURING_CUT, OTHER, "Down")) == 1
    assert lost(tmp_path, state(outage.KILL_S + 1, LINK, "Down")) == 1
    assert lost(tmp_path, state(outage.KILL_S - 1, LINK, "Down")) == 0


def test_packets_dropped_as_the_link_comes_back_are_counted_apart(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        stat(outage.KILL_S, outage.DEAD, XfrmInNoStates=2),
        stat(outage.HEAL_S, outage.HEALED, XfrmInNoStates=2),
        stat(outage.SETTLED_S, outage.SETTLED, XfrmInNoStates=3),
        stat(959, "end", XfrmInNoStates=3),
    )
    assert outage.dropped(run) == {}
    assert grown(run, outage.HEALED, outage.SETTLED) == {"XfrmInNoStates": 1}


def test_a_packet_dropped_at_any_other_time_is_found(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        stat(outage.HEAL_S, outage.HEALED, XfrmInStateExpired=1),
        stat(outage.SETTLED_S, outage.SETTLED, XfrmInStateExpired=1),
        stat(959, "end", XfrmInStateExpired=1),
    )
    assert outage.dropped(run) == {"XfrmInStateExpired": 1}
