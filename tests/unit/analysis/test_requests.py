"""What counts as a request that no schedule called for, on records made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.requests import at_dks, due_after_end, peak
from testbed.analysis.run import NS, Run
from testbed.record.plan import Plan
from testbed.topology.load import load

RING = load("ring:4")
FIRST, SECOND = ("r1", "r2")
OFF_S, ON_S = 90, 100


def address(router: str) -> str:
    return str(RING.routers[router].interfaces[-1].ipv4.ip)


def event(now_s: float, node: str, source: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"t": round(now_s * NS), "node": node, "source": source, "kind": kind, **more}


def request(at_s: float, router: str, *, again: bool = False) -> dict[str, Any]:
    return event(at_s, "dks", "agent", "request", peer=address(router), retransmission=again)


def scheduled(told_s: float, router: str, due_s: float) -> dict[str, Any]:
    return event(told_s, router, "agent", "dks_scheduled", at_s=due_s)


def off(router: str) -> dict[str, Any]:
    return event(OFF_S, router, "fault", "power_off")


def early(folder: Path, *events: dict[str, Any], keying: str = "lks") -> int:
    Plan(experiment="storm", topology=RING, keying=keying, seed=1, duration_s=300).write(folder / "plan.json")
    lines = [json.dumps(each) + "\n" for each in sorted(events, key=lambda each: each["t"])]
    (folder / "record.jsonl").write_text("".join(lines))
    return at_dks(Run(folder), ON_S * NS).before_schedule


def test_a_request_at_its_moment_was_called_for(tmp_path: Path) -> None:
    assert early(tmp_path, scheduled(101, FIRST, 170), request(170, FIRST), request(230, FIRST)) == 0


def test_a_request_before_its_moment_was_not(tmp_path: Path) -> None:
    assert early(tmp_path, scheduled(101, FIRST, 170), request(169.9, FIRST)) == 1


def test_a_schedule_from_before_a_power_cut_calls_for_nothing_after_it(tmp_path: Path) -> None:
    stale, new = scheduled(2, FIRST, 150), scheduled(101, FIRST, 170)
    assert early(tmp_path, stale, off(FIRST), new, request(160, FIRST)) == 1


def test_a_router_that_kept_its_power_keeps_its_schedule(tmp_path: Path) -> None:
    assert early(tmp_path, scheduled(2, FIRST, 150), off(SECOND), request(160, FIRST)) == 0


def test_one_routers_schedule_does_not_call_for_anothers_request(tmp_path: Path) -> None:
    events = scheduled(101, FIRST, 170), scheduled(101, SECOND, 200), request(180, SECOND)
    assert early(tmp_path, *events) == 1


def test_without_any_schedule_every_request_is_early(tmp_path: Path) -> None:
    assert early(tmp_path, request(120, FIRST), request(121, FIRST, again=True), keying="central-mgmt") == 2
    assert early(tmp_path, request(120, FIRST)) == 1


def test_requests_before_the_span_are_left_out_and_repeats_are_told_apart(tmp_path: Path) -> None:
    early(tmp_path, request(65, FIRST), request(120, FIRST), request(122, FIRST, again=True))
    found = at_dks(Run(tmp_path), ON_S * NS)
    assert (found.total, found.unique, found.times_s) == (2, 1, (20.0, 22.0))


def test_routers_whose_first_contact_lies_beyond_the_end_are_counted(tmp_path: Path) -> None:
    stale, cut = scheduled(2, FIRST, 150), off(FIRST)
    end = event(300, "lab", "lab", "run_end")
    early(
        tmp_path, stale, cut, scheduled(101, FIRST, 500), scheduled(101, SECOND, 200), scheduled(201, SECOND, 900), end
    )
    assert due_after_end(Run(tmp_path)) == 1
    early(tmp_path, scheduled(101, FIRST, 500), end, keying="central-mgmt")
    assert due_after_end(Run(tmp_path)) == 0


@pytest.mark.parametrize(("times", "most"), [((), 0), ((0.9, 1.1, 1.8), 3), ((0.0, 1.0), 1), ((5.0, 5.0, 7.0), 2)])
def test_the_peak_is_of_any_second_and_not_of_the_clocks(times: tuple[float, ...], most: int) -> None:
    assert peak(times) == most
