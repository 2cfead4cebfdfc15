"""The PIM storm's numbers, of records made by hand, and what it says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.ipsec.protection import RoutingProtocol
from testbed.analysis import pim_neighbors
from testbed.analysis.measures import Adjacencies, RequestCounts
from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.runner.experiment import Measures, Table, find
from testbed.topology.load import load

UP = Adjacencies(8, 8)

RING = load("ring:4")
NEVER = None


def event(now_s: float, node: str, source: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"t": round(now_s * NS), "node": node, "source": source, "kind": kind, **more}


def neighbours(now_s: float, state: str = "Up", *, but: str = "") -> list[dict[str, Any]]:
    """Every PIM neighbour comes or goes, but those of one router."""
    return [
        event(now_s, each.router, "frr", "adjacency", daemon="pimd", ifname=each.interface, neighbor=each.address,
              state=state)
        for each in sorted(pim_neighbors.expected(RING)) if each.router != but
    ]  # fmt: skip


def loss(stream: str, first_s: float, last_s: float) -> dict[str, Any]:
    sent = {"sent_first_ns": round(first_s * NS), "sent_last_ns": round(last_s * NS)}
    return event(first_s, "lab", "probe", "stream_loss", stream=stream, receiver="r2", first_seq=0, last_seq=9, **sent)


def measured(folder: Path, *events: dict[str, Any], requests: tuple[float, ...] = ()) -> Measures:
    """Power goes at 90 s and returns at 100; routers boot at 101 s."""
    find("pim_storm").plan(RING, "central", 1, {}).write(folder / "plan.json")
    record = [event(0, "lab", "lab", "ready"), *neighbours(20), event(89, "lab", "lab", "mark", name="settled")]
    record += [event(90, node, "fault", "power_off") for node in RING.routers]
    record += [event(100, "lab", "lab", "mark", name="power_returns")]
    record += [event(101, node, "fault", "power_on") for node in RING.routers]
    record += [event(at, "dks", "agent", "request", peer="10.0.0.1", retransmission=False) for at in requests]
    record += [*events, event(240, "lab", "lab", "end")]
    record.sort(key=lambda each: each["t"])
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in record))
    return find("pim_storm").measure(Run(folder))


def test_the_span_ends_when_the_last_receiver_hears_and_neighbours_are_counted(tmp_path: Path) -> None:
    lost = [loss("any-1", 90, 130), loss("specific-1", 90, 120)]
    found = measured(tmp_path, *neighbours(115), *lost, requests=(105, 150, 165))
    assert found.main_s == pytest.approx(130.2 - 101, abs=0.01)
    assert found.extra["first boot to all PIM neighbours, s"] == pytest.approx(14)
    assert found.adjacencies.restored == found.adjacencies.expected == 8
    assert (found.asked.first_60s, found.asked.total) == (2, 3)


def test_a_receiver_that_never_hears_and_a_neighbour_that_stays_away_are_never(tmp_path: Path) -> None:
    found = measured(tmp_path, *neighbours(115, but="r3"), loss("any-1", 90, 239.9))
    assert found.main_s is NEVER
    assert found.extra["first boot to all PIM neighbours, s"] is NEVER
    assert found.adjacencies.restored == 6


@pytest.mark.parametrize("keying", ["none", "manual", "central", "dks-lks", "lks"])
def test_ospf_is_in_clear_and_pim_is_not(keying: str) -> None:
    plan = find("pim_storm").plan(RING, keying, 1, {})
    check_plan(plan)
    if keying != "none":
        assert plan.options.in_clear == {RoutingProtocol.OSPF, RoutingProtocol.OSPF6}  # type: ignore[attr-defined]
    assert keying != "central" or not plan.options.commission  # type: ignore[attr-defined]


def test_receivers_are_as_many_as_asked_for_and_a_network_without_pim_is_refused() -> None:
    experiment = find("pim_storm")
    assert {len(each.receivers) for each in experiment.plan(load("ring:8"), "lks", 1, {"receivers": 3}).streams} == {3}
    for wrong in (0, "many", True):
        with pytest.raises(InputError, match="receivers is"):
            experiment.plan(RING, "lks", 1, {"receivers": wrong})
    with pytest.raises(InputError, match="no PIM"):
        experiment.plan(RING.model_copy(update={"pim": None}), "lks", 1, {})


def table(central: float | None, *, lks_requests: int = 0) -> Table:
    def row(time: float | None, requests: int) -> list[Measures]:
        return [Measures(time, UP, dks=RequestCounts(total=requests, before_schedule=0, first_60s=requests))]

    return Table({"none": row(20, 0), "central": row(central, 60), "lks": row(20.1, lks_requests)})


def test_what_the_paper_claims_is_said_or_refuted() -> None:
    experiment = find("pim_storm")
    both = " ".join(experiment.findings(table(21.0)))
    assert "As the paper says (V-C)" in both and "As the paper says (VI)" in both and "Refuted" not in both
    assert "Refuted: central keying" in " ".join(experiment.findings(table(None)))
    assert "Refuted: Local Key Servers" in " ".join(experiment.findings(table(21.0, lks_requests=70)))


def test_a_mode_that_does_not_come_back_fails_and_one_packet_later_does_not() -> None:
    experiment = find("pim_storm")
    assert all(each.ok for each in experiment.judge(table(21.0)))
    assert [each.text for each in experiment.judge(table(None)) if not each.ok] == ["every receiver hears again"]


def test_the_figure_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    measured(tmp_path / "run", *neighbours(115), loss("any-1", 90, 130), requests=(105,))
    (drawn,) = find("pim_storm").draw(tmp_path, [Run(tmp_path / "run")])
    assert (tmp_path / f"{drawn.name}.svg").is_file() and "V-C" in drawn.caption
    assert find("pim_storm").draw(tmp_path, []) == []
