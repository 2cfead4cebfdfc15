"""The long way's plans and numbers, of records made by hand."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.measures import Adjacencies
from testbed.analysis.run import NS, Run
from testbed.errors import InputError
from testbed.record.plan import Plan
from testbed.runner.experiment import Measures, Table, find
from testbed.setup.paths import PROJECT
from testbed.topology.load import load
from testbed.topology.paths import expected_paths

LINE = load("line:2")


def event(now_s: float, node: str, source: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"t": round(now_s * NS), "node": node, "source": source, "kind": kind, **more}


def routes(now_s: float, kind: str = "add") -> list[dict[str, Any]]:
    own = {router.loopback.network for router in LINE.routers.values()}
    return [
        event(now_s, node, "route", kind, dst=str(prefix), nexthops=[{"via": str(hop), "dev": "x"} for hop in hops])
        for node, table in expected_paths(LINE).items()
        for prefix, hops in table.items()
        if prefix in own
    ]


def keyed(now_s: float, node: str, neighbor: str = "") -> dict[str, Any]:
    near = LINE.neighbors(node)[0]
    neighbor = neighbor or near.neighbor_router
    return event(now_s, node, "agent", "keyed", interface=near.interface.name, neighbor=neighbor)


def measured(folder: Path, *after: dict[str, Any], keying: str = "lks") -> Measures:
    """Routers boot at 5 and 6 s; what came before counts for nothing."""
    Plan(experiment="long_way", topology=LINE, keying=keying, seed=1, duration_s=480).write(folder / "plan.json")
    events = [keyed(1.0, "r1"), *routes(1.5), *routes(2.0, "del"), event(5, "lab", "lab", "mark", name="power_returns")]
    events += [event(5, "r1", "fault", "power_on"), event(6, "r2", "fault", "power_on"), *after]
    events = sorted(events, key=lambda each: each["t"])
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    return find("long_way").measure(Run(folder))


def test_links_get_what_the_options_say_and_stubs_do_not() -> None:
    asked = {"delay_ms": 10000, "loss_percent": 30, "jitter": 0.5}
    plan = find("long_way").plan(LINE, "lks", 1, asked)
    ways = {each.kind: (each.delay_ms, each.jitter_ms, each.loss_percent) for each in plan.topology.segments.values()}
    assert ways.pop("p2p") == (10000.0, 5000.0, 30.0)
    assert all(delay_ms < 1 for delay_ms, _jitter, _loss in ways.values())


@pytest.mark.parametrize(
    ("name", "value"), [("delay_ms", 10001), ("loss_percent", -1), ("jitter", 1.5), ("jitter", "x")]
)
def test_a_way_that_no_topology_can_have_is_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        find("long_way").plan(LINE, "lks", 1, {name: value})


def test_routes_count_when_they_are_right_first_and_keys_when_all_have_them(tmp_path: Path) -> None:
    after = (keyed(9, "r1"), keyed(11, "r2"), *routes(30), *routes(50, "del"), *routes(70))
    found = measured(tmp_path, *after)
    assert found.main_s == 25
    assert found.extra["first boot to routes right for good, s"] == 65
    assert found.extra["first boot to last neighbour keyed, s"] == 6


def test_keys_for_registers_count_apart_and_each_neighbour_of_an_interface_for_itself(tmp_path: Path) -> None:
    both = [event(7, "r1", "agent", "pair", peer="r2", state="keyed"),
            event(9, "r2", "agent", "pair", peer="r1", state="keyed")]  # fmt: skip
    found = measured(tmp_path, keyed(9, "r1", "r9"), keyed(10, "r2"), *both)
    assert found.extra["first boot to last neighbour keyed, s"] is None, "r1 has said nothing of r2"
    assert found.extra["first boot to keys for Registers, s"] == 4


def test_who_is_never_keyed_is_never_and_without_keys_nothing_is_said_of_them(tmp_path: Path) -> None:
    assert measured(tmp_path, keyed(9, "r1")).extra["first boot to last neighbour keyed, s"] is None
    assert "first boot to last neighbour keyed, s" not in measured(tmp_path, keying="none").extra


def test_where_ospf_itself_does_not_come_up_nothing_is_asked_of_keying() -> None:
    judge = find("long_way").judge
    for none, ours, ok in ((None, None, True), (20.0, None, False), (20.0, 90.0, True)):
        table = Table({"none": [Measures(none, Adjacencies(2, 2))], "lks": [Measures(ours, Adjacencies(2, 2))]})
        assert [each.ok for each in judge(table)] == [ok]


def test_the_notebook_draws_what_a_sweep_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import polars

    rows = [
        {"delay_ms": delay, "loss_percent": loss, "jitter": 0.5, "keying": keying, "seed": 1, "convergence_s": 9.0}
        | {"first boot to last neighbour keyed, s": 3.0 if keying == "lks" else None}
        for delay in (1, 10_000)
        for loss in (0, 30)
        for keying in ("none", "lks")
    ]
    polars.DataFrame(rows).write_parquet(tmp_path / "results.parquet")
    monkeypatch.setenv("SWEEP_RESULTS", str(tmp_path / "results.parquet"))
    notebook = json.loads((PROJECT / "experiments" / "sweeps" / "long_ways.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (tmp_path / "notebook.py").write_text("\n".join("".join(cell["source"]) for cell in cells))
    names = runpy.run_path(str(tmp_path / "notebook.py"))
    assert names["table"]["lks keyed_s"].to_list() == [3.0] * 4 and set(names["added"]["added"]) == {0.0}
    assert (tmp_path / "long_ways.svg").is_file() and (tmp_path / "sweep.csv").is_file()
