"""The trace of a run, read with Perfetto's own definition of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace as Read

from testbed.analysis.adjacency import timeline
from testbed.analysis.run import Run
from testbed.setup.paths import PROJECT
from testbed.view.perfetto import Trace, exported

BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4


class Tracks:
    """What a trace says of each track, by the names above it."""

    def __init__(self, octets: bytes) -> None:
        read = Read()
        assert read.ParseFromString(octets) == len(octets)
        described = {p.track_descriptor.uuid: p.track_descriptor for p in read.packet if p.HasField("track_descriptor")}
        self.events: dict[tuple[str, ...], list[tuple[int, Any]]] = {}
        last = 0
        for packet in read.packet:
            if packet.HasField("track_event"):
                assert packet.timestamp >= last
                last = packet.timestamp
                names, uuid = [], packet.track_event.track_uuid
                while uuid:
                    names.append(described[uuid].name)
                    uuid = described[uuid].parent_uuid
                self.events.setdefault(tuple(reversed(names)), []).append((packet.timestamp, packet.track_event))

    def slices(self, *names: str) -> Iterator[tuple[str, int, int]]:
        """Name, begin and end; none is inside another."""
        begun: tuple[str, int] | None = None
        for t, event in self.events.get(names, ()):
            if event.type == BEGIN:
                assert begun is None
                begun = event.name, t
            elif event.type == END:
                assert begun is not None
                yield *begun, t
                begun = None
        assert begun is None


def test_slices_are_the_adjacencies_that_are_down_and_the_generations(build: Callable[..., Run]) -> None:
    run = build("lks", 1)
    found = Tracks(exported(run))
    first, last = run.events[0]["t"], run.events[-1]["t"]
    for (router, interface, neighbor), changes in timeline(run.plan.topology, run.events).items():
        wanted, down = [], first
        for t, up in [*changes, (last, True)]:
            if up and down is not None:
                wanted.append(("down", down, t))
            down = None if up else t
        assert list(found.slices(router, interface, f"adjacency with {neighbor}")) == [
            each for each in wanted if each[1] < each[2]
        ]
    added = [e for e in run.where("agent", "sa") if e["direction"] == "out" and e["change"] == "added"]
    slices = [each for names in found.events if names[-1].startswith("keys for") for each in found.slices(*names)]
    assert sorted((name, since) for name, since, _ in slices) == sorted(
        {(f"generation {e['generation']}", e["t"]) for e in added}
    )


def test_generations_that_overlap_stand_side_by_side_and_a_power_failure_ends_them(build: Callable[..., Run]) -> None:
    run = build("none", 1)
    own = {
        "node": "r1",
        "source": "agent",
        "kind": "sa",
        "direction": "out",
        "interface": "r1-eth0",
        "destination": "224.0.0.5",
    }
    start = run.events[0]["t"]
    run.events[1:1] = [
        {"t": start + 10, **own, "generation": 1, "change": "added"},
        {"t": start + 20, **own, "generation": 2, "change": "added"},
        {"t": start + 30, **own, "generation": 1, "change": "removed"},
        {"t": start + 40, **own, "generation": 3, "change": "added"},
    ]
    found = Tracks(exported(run))
    off = run.where("fault", "power_off", "r1")[0]["t"]
    assert list(found.slices("r1", "r1-eth0", "keys for 224.0.0.5")) == [
        ("generation 1", start + 10, start + 30), ("generation 3", start + 40, off),
    ]  # fmt: skip
    assert list(found.slices("r1", "r1-eth0", "keys for 224.0.0.5 (2)")) == [("generation 2", start + 20, off)]


def test_a_flow_joins_the_two_ends_of_each_ike_sa(build: Callable[..., Run]) -> None:
    run = build("none", 1)
    start = run.events[0]["t"]
    ends = [("r2", "r1", "responder"), ("r1", "r2", "initiator"), ("r1", "r2", "initiator"), ("r2", "r1", "responder")]
    for number, (node, peer, role) in enumerate(ends):
        own = {"source": "agent", "kind": "ike", "state": "established", "interface": f"{node}-eth0"}
        run.events.insert(number + 1, {"t": start + number, "node": node, "peer": peer, "role": role, **own})
    found = Tracks(exported(run))
    flows = [list(e.flow_ids) for node in ("r1", "r2") for _, e in found.events[node, f"{node}-eth0", "IKE"]]
    assert all(len(each) == 1 for each in flows)
    (a, b), (c, d) = flows[:2], flows[2:]
    assert a == c and b == d and a != b


def test_counters_and_instants_are_what_the_record_says(build: Callable[..., Run]) -> None:
    run = build("lks", 1)
    found = Tracks(exported(run))
    requests = [event.counter_value for _, event in found.events["DKS requests in a second",]]
    assert sum(requests) == len(run.where("agent", "request"))
    off = [t for t, event in found.events["r1", "fault events"] if event.name == "power_off"]
    assert off == [event["t"] for event in run.where("fault", "power_off", "r1")]
    assert exported(run) == exported(Run(run.folder)), "the same record gives the same octets"


def test_whatever_stands_in_a_record_is_text_or_a_number(build: Callable[..., Run]) -> None:
    trace = Trace()
    values = {"text": "\u202e</script>", "big": 1 << 70, "low": -5, "yes": True, "list": [1], "none": None}
    trace.event(1 << 62, INSTANT, trace.track("x", "\u0000"), "…", values=values)
    (found,) = Tracks(trace.encoded()).events[("x", "\u0000")]
    given = {each.name: each for each in found[1].debug_annotations}
    assert (given["low"].int_value, given["yes"].bool_value, given["big"].string_value) == (-5, True, str(1 << 70))
    assert given["text"].string_value == "\u202e</script>"


def lab(*words: str | Path) -> int:
    argv = [sys.executable, "-m", "testbed.cli", *map(str, words)]
    return subprocess.run(argv, cwd=PROJECT, capture_output=True, check=False).returncode


@pytest.mark.parametrize(
    ("words", "code"), [([], 2), (["--perfetto"], 0), (["--perfetto", "--out", "/nowhere/x"], 2)], ids=str
)
def test_the_verb_writes_the_file_or_says_why_not(build: Callable[..., Run], words: list[str], code: int) -> None:
    folder = build("lks", 1).folder
    assert lab("export", folder, *words) == code
    assert (folder / "run.perfetto-trace").exists() is (code == 0)


@pytest.mark.parametrize("damage", ["no record", "cut", "no plan"])
def test_a_damaged_run_is_refused_and_nothing_is_written(
    build: Callable[..., Run], tmp_path: Path, damage: str
) -> None:
    folder = build("lks", 1).folder
    if damage == "no record":
        (folder / "record.jsonl").unlink()
    elif damage == "cut":
        (folder / "record.jsonl").write_bytes((folder / "record.jsonl").read_bytes()[:-9])
    else:
        (folder / "plan.json").unlink()
    assert lab("export", folder, "--perfetto") == 2
    assert not list(folder.glob("*perfetto*"))
