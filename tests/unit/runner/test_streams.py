"""The usual streams of a topology."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.faults.check import check_plan
from testbed.record.plan import Plan
from testbed.runner.streams import ends, usual_streams
from testbed.topology.load import load
from testbed.topology.resolved import Topology


def of(folder: Path, text: str) -> Topology:
    (folder / "t.yaml").write_text(text)
    return load(str(folder / "t.yaml"))


def test_sources_and_receivers_are_far_apart_and_none_is_the_rendezvous_point(tmp_path: Path) -> None:
    line = of(tmp_path, "pim: {rp: r3}\nlinks: [r1-r2, r2-r3, r3-r4, r4-r5]")
    assert ends(line) == (["r1", "r5"], ["r2", "r4"])
    streams = usual_streams(line, 10, 50)
    assert [(each.name, each.source, each.group, each.specific) for each in streams] == [
        ("any-1", "r1", "239.1.1.1", False), ("specific-1", "r1", "232.1.1.1", True),
        ("any-2", "r5", "239.1.1.2", False), ("specific-2", "r5", "232.1.1.2", True),
    ]  # fmt: skip
    assert all((each.receivers, each.since_s, each.until_s) == (("r2", "r4"), 10, 50) for each in streams)
    check_plan(Plan(experiment="x", topology=line, keying="none", duration_s=60, streams=tuple(streams)))


@pytest.mark.parametrize(("routers", "sources", "receivers"), [(2, ["r2"], ["r1"]), (3, ["r1"], ["r3"])])
def test_few_routers_give_fewer_streams(routers: int, sources: list[str], receivers: list[str], tmp_path: Path) -> None:
    links = ", ".join(f"r{n}-r{n + 1}" for n in range(1, routers))
    rp = "r1" if routers == 2 else "r2"
    assert ends(of(tmp_path, f"pim: {{rp: {rp}}}\nlinks: [{links}]")) == (sources, receivers)


def test_hosts_send_and_receive_where_there_are_several(tmp_path: Path) -> None:
    text = "pim: {rp: r2}\nlinks: [r1-r2, r2-r3]\nhosts: {one: {on: r1}, two: {on: r2}, three: {on: r3}}"
    assert ends(of(tmp_path, text)) == (["one"], ["three"])
    assert ends(of(tmp_path, text.replace(", two: {on: r2}, three: {on: r3}", ""))) == (["r1"], ["r3"])


def test_who_cannot_be_reached_takes_no_part(tmp_path: Path) -> None:
    text = "pim: {rp: b}\nlinks: [a-b, b-c, {between: [c, d], loss: 100%}]"
    assert ends(of(tmp_path, text)) == (["a"], ["c"])


def test_without_pim_there_are_none() -> None:
    assert usual_streams(load("office").model_copy(update={"pim": None})) == []
