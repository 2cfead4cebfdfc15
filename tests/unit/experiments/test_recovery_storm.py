"""The recovery storm's numbers, of records made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.measures import Adjacencies, RequestCounts
from testbed.analysis.run import NS, Run
from testbed.record.plan import Plan
from testbed.runner.experiment import Measures, Table, find
from testbed.topology.load import load
from testbed.topology.paths import expected_paths

UP = Adjacencies(8, 8)

RING = load("ring:4")
OFF_S, ON_S = 90.0, 100.0


def event(now_s: float, node: str, source: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"t": round(now_s * NS), "node": node, "source": source, "kind": kind, **more}


def routes(now_s: float, kind: str = "add") -> list[dict[str, Any]]:
    """Every right route to a loopback, at every router at once."""
    own = {router.loopback.network for router in RING.routers.values()}
    return [
        event(now_s, node, "route", kind, dst=str(prefix), nexthops=[{"via": str(hop), "dev": "x"} for hop in hops])
        for node, table in expected_paths(RING).items()
        for prefix, hops in table.items()
        if prefix in own
    ]


def measured(folder: Path, *after: dict[str, Any], dks_boot_s: float = 0.0) -> Measures:
    """A storm whose routers boot at 101, 102, 103 and 104 s, and then what is given."""
    Plan(experiment="storm", topology=RING, keying="lks", seed=1, duration_s=300).write(folder / "plan.json")
    events = [*routes(12.0), event(OFF_S - 1, "lab", "lab", "mark", name="settled")]
    events += [event(OFF_S, node, "fault", "power_off") for node in RING.routers]
    events += routes(OFF_S, "del")
    events += [event(ON_S, "lab", "lab", "mark", name="power_returns")]
    events += [event(ON_S + number, node, "fault", "power_on") for number, node in enumerate(RING.routers, 1)]
    if dks_boot_s:
        events.append(event(dks_boot_s, "dks", "fault", "power_on"))
    events = sorted([*events, *after], key=lambda each: each["t"])
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    return find("recovery_storm").measure(Run(folder))


def test_convergence_counts_from_the_first_router_and_is_known_from_the_last(tmp_path: Path) -> None:
    found = measured(tmp_path, *routes(115.0))
    assert found.main_s == pytest.approx(14.0)
    assert found.extra["last boot to routes right, s"] == pytest.approx(11.0)
    assert found.extra["first start to routes right, s"] == pytest.approx(12.0)


def test_a_dks_that_boots_before_every_router_does_not_move_the_start(tmp_path: Path) -> None:
    assert measured(tmp_path, *routes(115.0), dks_boot_s=100.2).main_s == pytest.approx(14.0)


def test_a_domain_in_which_some_routers_come_back_and_others_never_did_not_converge(tmp_path: Path) -> None:
    beside_the_dks = [each for each in routes(115.0) if each["node"] in ("r1", "r2")]
    found = measured(tmp_path, *beside_the_dks)
    assert found.main_s is None and found.extra["last boot to routes right, s"] is None
    assert (found.adjacencies.expected, found.adjacencies.restored) == (8, 0)


def test_a_route_lost_again_before_the_end_is_no_convergence(tmp_path: Path) -> None:
    back = routes(115.0)
    assert measured(tmp_path, *back, {**back[0], "t": 200 * NS, "kind": "del"}).main_s is None


def test_a_deadlock_is_a_finding_and_no_failure() -> None:
    storm, stuck = find("recovery_storm"), Measures(None, Adjacencies(8, 2))
    table = Table({"none": [Measures(10.0, UP)], "central": [stuck], "lks": [Measures(10.0, UP)]})
    assert all(each.ok for each in storm.judge(table))
    assert "deadlocks on a cold start in 1 of 1 runs" in storm.findings(table)[0]
    assert "2 of 8 adjacencies" in storm.findings(table)[0]


def test_a_total_that_the_end_cuts_short_is_called_so() -> None:
    storm, pending = find("recovery_storm"), "routers whose first visit to the DKS falls after the run"
    told = storm.findings(
        Table(
            {
                "lks": [
                    Measures(10.0, UP, RequestCounts(12), extra={pending: 6}),
                    Measures(10.0, UP, extra={pending: 11}),
                ]
            }
        )
    )
    assert "6 to 11 routers" in told[-1] and "incomplete" in told[-1]
    assert len(storm.findings(Table({"lks": [Measures(10.0, UP, RequestCounts(12), extra={pending: 0})]}))) == 1


def test_the_first_minute_counts_from_the_return_of_the_power_and_holds_repeats(tmp_path: Path) -> None:
    peer = str(RING.routers["r1"].interfaces[0].ipv4.ip)
    asked = [
        event(moment_s, "dks", "agent", "request", peer=peer, retransmission=again)
        for moment_s, again in ((95.0, False), (101.0, False), (103.0, True), (160.0, False), (160.1, False))
    ]
    assert measured(tmp_path, *asked).asked.first_60s == 3


def test_the_findings_compare_the_first_minute_of_the_modes_that_have_a_dks() -> None:
    runs = {
        "none": [Measures(10.0, UP, dks=RequestCounts(first_60s=0))],
        "central-mgmt": [Measures(10.0, UP, dks=RequestCounts(total=90, first_60s=count)) for count in (80, 84, 99)],
        "lks": [Measures(10.0, UP, dks=RequestCounts(first_60s=0))],
    }
    told = find("recovery_storm").findings(Table(runs))
    assert "Requests at the DKS in the first 60 s after the power returns (medians): central-mgmt 84, lks 0." in told


def test_routers_whose_lks_takes_over_are_judged_like_those_that_always_act_alone() -> None:
    late = Measures(20.0, Adjacencies(8, 7), dks=RequestCounts(before_schedule=1))
    table = Table({"none": [Measures(10.0, UP)], "dks-lks": [late], "lks": [Measures(10.0, UP)]})
    found = find("recovery_storm").judge(table)
    assert [each.keying for each in found if not each.ok] == ["dks-lks"] * 3
