"""The record: merged by time, and robust against what a power cut leaves."""

from __future__ import annotations

import json
from pathlib import Path

from testbed.record.writer import Recorder, agent_events


def test_events_from_several_sources_are_written_in_the_order_of_time(tmp_path: Path) -> None:
    record = Recorder()
    record("r1", "route", "add", t=30)
    record("lab", "lab", "run_start", t=10)
    record.extend([{"t": 20, "node": "r1", "source": "agent", "kind": "keyed"}])
    assert record.write(tmp_path / "record.jsonl") == 3
    assert [json.loads(line)["t"] for line in (tmp_path / "record.jsonl").read_text().splitlines()] == [10, 20, 30]


def test_events_of_one_moment_keep_their_order(tmp_path: Path) -> None:
    record = Recorder()
    for name in "abc":
        record("lab", "lab", name, t=5)
    assert [event["kind"] for event in record.merged()] == ["a", "b", "c"]


def test_a_line_cut_off_by_the_power_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    path.write_text('{"t":1,"node":"r1","kind":"started"}\n{"t":2,"node":"r1","ki')
    assert list(agent_events(path, "r1")) == [{"t": 1, "node": "r1", "source": "agent", "kind": "started"}]


def test_where_a_list_came_from_is_on_record_as_older_agents_write_it_too(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    path.write_text("".join(f'{{"t":1,"kind":"revocation","{each}":"dks"}}\n' for each in ("origin", "source")))
    event = {"t": 1, "node": "r1", "source": "agent", "kind": "revocation", "origin": "dks"}
    assert list(agent_events(path, "r1")) == [event, event]


def test_a_line_that_is_no_event_is_seen_in_the_record(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    path.write_text("oops\n")
    assert [event["kind"] for event in agent_events(path, "r1")] == ["bad_event"]


def test_an_agent_that_wrote_nothing_has_no_events(tmp_path: Path) -> None:
    assert list(agent_events(tmp_path / "absent", "r1")) == []
