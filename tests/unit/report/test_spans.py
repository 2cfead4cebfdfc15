"""When an adjacency counts as down, and where a figure's time begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.analysis.run import NS, Run
from testbed.analysis.trees import outages
from testbed.record.plan import Stream
from testbed.report.convergence import titled
from testbed.report.requests import asked, origin
from testbed.report.style import ordered
from testbed.report.timeline import _View, down_spans, draw_timeline, pair_spans
from testbed.topology.resolved import Topology

Build = Callable[..., Run]


def test_a_direction_is_down_until_it_first_comes_up() -> None:
    assert down_spans([(30, True)], 10, 100) == [(10, 30)]


def test_a_direction_that_never_comes_up_is_down_all_the_time() -> None:
    assert down_spans([], 10, 100) == [(10, 100)]


def test_a_direction_that_goes_down_for_good_is_down_to_the_end() -> None:
    assert down_spans([(20, True), (40, False)], 10, 100) == [(10, 20), (40, 100)]


def test_two_reports_of_going_down_are_one_time_down() -> None:
    assert down_spans([(20, True), (40, False), (50, False), (60, True)], 10, 100) == [(10, 20), (40, 60)]


def test_an_adjacency_is_half_up_while_one_direction_is() -> None:
    assert pair_spans([(10, 40)], [(20, 50)]) == [(10, 20, False), (20, 40, True), (40, 50, False)]


def test_an_adjacency_that_is_up_both_ways_has_no_bar() -> None:
    assert pair_spans([], []) == []
    assert pair_spans([(10, 20)], [(10, 20), (30, 40)]) == [(10, 20, True), (30, 40, False)]


def test_time_counts_from_the_return_of_the_power(build: Build) -> None:
    assert origin(build("none", 1)).moment == 100 * NS


def test_requests_count_from_there_and_know_the_first_that_was_planned(build: Build) -> None:
    found = asked(build("lks", 1))
    assert found.planned_s is not None and 120 <= found.planned_s <= 140
    assert len(found.times_s) == 12 and min(found.times_s) >= found.planned_s
    assert found.end_s == 200


def test_a_mode_without_agents_has_no_plan_and_no_requests(build: Build) -> None:
    found = asked(build("none", 1))
    assert (found.times_s, found.planned_s, found.has_agents) == ((), None, False)


def test_keying_modes_stand_from_least_to_most_and_strangers_last() -> None:
    assert ordered({"zebra", "lks", "central", "none"}) == ["none", "central", "lks", "zebra"]


def test_a_unit_at_a_names_end_goes_into_brackets() -> None:
    assert titled("admin-down reconvergence_s") == "admin-down reconvergence (s)"
    assert titled("first start to convergence, s") == "first start to convergence (s)"
    assert titled("packets lost") == "packets lost"


def test_a_schedule_that_a_power_cut_wiped_out_is_not_shown(build: Build) -> None:
    run = build("lks", 1)
    cut = next(event for event in run.where("fault", "power_off") if event["node"] == "r1")
    before = {"t": cut["t"] - NS, "node": "r1", "source": "agent", "kind": "dks_scheduled", "at_s": cut["t"] / NS + 5}
    run.events.insert(run.events.index(cut), before)
    assert len(_View(run).due()) == 4


def test_late_requests_get_their_own_window_and_early_ones_do_not(build: Build) -> None:
    recovery, late = _View(build("lks", 1)).windows()
    assert recovery[0] < -10 and 9 < recovery[1] < 25
    assert late[0] > 110 and late[1] <= 200
    assert len(_View(build("central-mgmt", 1)).windows()) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("keying", ["none", "central-mgmt", "lks"])
def test_a_timeline_is_laid_out_without_a_complaint(build: Build, tmp_path: Path, keying: str) -> None:
    draw_timeline(tmp_path, build(keying, 1), "timeline")
    assert (tmp_path / "timeline.svg").exists()


def test_keys_over_a_link_that_brings_no_adjacency_up_have_no_row(build: Build, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("links: [{between: [a, b], loss: 100%}, b-c, c-a]\n")
    run = build("lks", 1, topology=Topology.load(str(tmp_path / "t.yaml")))
    assert {event.get("neighbor") for event in run.where("agent", "keyed", node="a")} == {"b", "c"}
    draw_timeline(tmp_path, run, "timeline-lks")
    assert set(_View(run).rows) == {("a", "c", "c--a"), ("b", "c", "b--c")}


def test_the_timeline_has_a_lane_for_each_stream_and_one_for_their_trees(build: Build, tmp_path: Path) -> None:
    stream = Stream(name="any-1", source="r1", group="239.1.1.1", receivers=("r2", "r3"), rate_pps=5)
    (tmp_path / "t.yaml").write_text("pim: {rp: r1}\nlinks: [r1-r2, r2-r3, r3-r1]\n")
    run = build("lks", 1, topology=Topology.load(str(tmp_path / "t.yaml")), streams=(stream,))
    fields = {"node": "lab", "source": "probe", "kind": "stream_loss", "stream": "any-1"}
    for receiver, first, last in (("r2", 90, 120), ("r3", 110, 130)):
        sent = {"sent_first_ns": first * NS, "sent_last_ns": last * NS - NS // 5}
        run.events.insert(-1, {"t": first * NS, "receiver": receiver, "first_seq": 1, "last_seq": 2, **sent, **fields})
    view = _View(run)
    assert [(low // NS, high // NS, every) for low, high, every in view.lanes["any-1"]] == [
        (90, 110, False), (110, 120, True), (120, 130, False)
    ]  # fmt: skip
    # No router has a route, and none is wanted while r1, source and rendezvous point, is without power.
    (_start, cut, _all), (boot, end, _every) = view.lanes["trees"]
    assert cut == 90 * NS and 100 * NS < boot < 105 * NS and end == 300 * NS
    draw_timeline(tmp_path, run, "timeline")
    assert _View(build("lks", 1)).lanes == {}


def test_outages_are_what_faults_took_down_and_routers_that_boot_together_come_back_with_the_last(
    build: Build,
) -> None:
    run = build("none", 1)
    run.events.append({"t": 250 * NS, "node": "r1", "source": "fault", "kind": "link_admin_down", "segment": "r1--r2"})
    found = list(outages(run).items())
    assert [names for _moment, names in found] == [
        frozenset(), frozenset(run.plan.topology.routers), frozenset(), frozenset({"r1--r2"})
    ]  # fmt: skip
    assert found[2][0] == max(event["t"] for event in run.where("fault", "power_on"))
