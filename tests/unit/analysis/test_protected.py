"""Whether any routing packet of a run was in clear, by the record alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.measures import Adjacencies
from testbed.analysis.protected import CLEAR, in_clear
from testbed.analysis.run import Run
from testbed.record.plan import Plan
from testbed.runner.experiment import Measures, Table, find
from testbed.topology.load import load


def run(folder: Path, *counted: dict[str, Any]) -> Run:
    Plan(experiment="x", topology=load("ring:3"), keying="lks", duration_s=9).write(folder / "plan.json")
    events = [{"t": 1, "node": "lab", "source": "lab", "kind": "ready"}]
    events += [{"t": 2, "node": "lab", "source": "probe", "kind": "clear", **each} for each in counted]
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    return Run(folder)


@pytest.mark.parametrize(
    ("interfaces", "missed", "count"),
    [
        ({}, 0, 0),
        ({"r1-eth0": {"packets": {"ospf": 2, "pim": 1}}, "r2-eth1": {"packets": {"pim": 4}}}, 0, 7),
        ({}, 3, 3),  # nobody can say that these were protected
    ],
)
def test_packets_of_both_protocols_count_on_every_interface_and_so_do_those_that_nobody_read(
    tmp_path: Path, interfaces: dict[str, Any], missed: int, count: int
) -> None:
    assert in_clear(run(tmp_path, {"interfaces": interfaces, "missed": missed})) == {CLEAR: count}


def test_a_record_that_has_not_counted_says_nothing(tmp_path: Path) -> None:
    assert in_clear(run(tmp_path)) == {}


def test_one_packet_in_clear_in_one_run_fails_the_criterion_and_no_count_is_no_verdict() -> None:
    storm = find("recovery_storm")

    def judged(*counts: dict[str, float | None]) -> list[bool]:
        table = Table({"lks": [Measures(1.0, Adjacencies(8, 8), extra=each) for each in counts]})
        return [each.ok for each in storm.none_in_clear(table, "lks")]

    assert judged({CLEAR: 0}, {CLEAR: 0}) == [True]
    assert judged({CLEAR: 0}, {CLEAR: 1}) == [False]
    assert judged({}) == []
