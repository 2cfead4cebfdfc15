"""What multicast streams lost and when all heard again, on records made by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.multicast import DUPLICATED, LOST, SPARE, UNHEARD, Phase, series
from testbed.analysis.run import NS, Run
from testbed.analysis.trees import wrong_spans
from testbed.record.plan import Plan, Stream
from testbed.topology.load import load

STREAM = Stream(name="s", source="src", group="232.1.1.1", receivers=("one", "two"), rate_pps=10, specific=True)
ANYONE = STREAM.model_copy(update={"group": "239.1.1.1", "specific": False})
START, END = 1, 100


def loss(receiver: str, first: int, last: int, stream: Stream = STREAM) -> dict[str, Any]:
    """Packets `first` to `last` were not heard; ten a second are sent from START on."""
    sent = [START * NS + number * NS // 10 for number in (first, last)]
    return {
        "t": sent[0], "node": "lab", "source": "probe", "kind": "stream_loss", "stream": stream.name,
        "receiver": receiver, "first_seq": first, "last_seq": last, "sent_first_ns": sent[0], "sent_last_ns": sent[1],
    }  # fmt: skip


def event(t_s: float, node: str, source: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"t": round(t_s * NS), "node": node, "source": source, "kind": kind, **more}


def run(folder: Path, events: Iterable[dict[str, Any]], streams: tuple[Stream, ...] = (STREAM,)) -> Run:
    (folder / "line.yaml").write_text(
        "pim: {rp: b}\nlinks: [a-b, b-c]\nhosts: {src: {on: a}, one: {on: b}, two: {on: c}}\n"
    )
    topology = load(str(folder / "line.yaml"))
    plan = Plan(experiment="x", topology=topology, keying="lks", duration_s=END - START, streams=streams)
    plan.write(folder / "plan.json")
    every = [event(START, "lab", "lab", "ready"), *events, event(END, "lab", "lab", "run_end")]
    every.sort(key=lambda each: int(each["t"]))
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in every))
    return Run(folder)


CUT = event(30, "a--b", "fault", "link_carrier_down")


def test_all_hear_again_when_the_last_of_them_misses_no_packet_any_more(tmp_path: Path) -> None:
    counts = [event(END, "lab", "probe", "stream", stream="s", receiver=name, sent=990, received=900, duplicated=count)
            for name, count in (("one", 2), ("two", 3))]  # fmt: skip
    losses = [loss("one", 0, 20), loss("one", 290, 299), loss("two", 292, 349), loss("two", 360, 361)]
    measured = series(run(tmp_path, [CUT, *losses, *counts]), {"cut": Phase(30 * NS)})
    assert measured["cut to all receivers hear, s"] == pytest.approx(7.2)
    assert measured[LOST] == 10 + 58 + 2, "what was lost before the first fault is another question"
    assert measured[DUPLICATED] == 5


def test_one_packet_lost_alone_is_counted_and_not_timed_but_losses_close_together_are_one_silence(
    tmp_path: Path,
) -> None:
    alone, halves = [loss("one", 650, 650)], [loss("one", number, number) for number in range(650, 660, 2)]
    at_once = [loss("one", 292, 292)]
    for name, losses, hears_s, missed in (
        ("alone", alone, 0, 1),
        ("halves", halves, 36.9, 5),
        ("at once", at_once, 0.3, 1),
    ):
        folder = tmp_path / name
        folder.mkdir()
        measured = series(run(folder, [CUT, *losses]), {"cut": Phase(30 * NS)})
        assert (measured["cut to all receivers hear, s"], measured[LOST]) == (pytest.approx(hears_s), missed)


def test_who_misses_packets_to_the_end_never_hears_again(tmp_path: Path) -> None:
    measured = series(run(tmp_path, [CUT, loss("two", 300, 989)]), {"cut": Phase(30 * NS)})
    assert measured["cut to all receivers hear, s"] is None


def test_a_record_that_goes_on_after_the_last_packet_makes_nobody_hear(tmp_path: Path) -> None:
    counts = event(END, "lab", "probe", "stream", stream="s", receiver="two", sent=980, received=300, duplicated=0)
    measured = series(run(tmp_path, [CUT, loss("two", 300, 979), counts]), {"cut": Phase(30 * NS)})
    assert measured["cut to all receivers hear, s"] is None


def test_each_phase_has_its_own_losses_and_one_may_end_before_the_next_begins(tmp_path: Path) -> None:
    losses = [loss("one", 290, 309), loss("two", 590, 609), loss("two", 700, 700)]
    phases = {"cut": Phase(30 * NS), "healed": Phase(60 * NS, until=65 * NS), "again": Phase(80 * NS)}
    measured = series(run(tmp_path, [CUT, *losses]), phases)
    assert [measured[f"{name} to all receivers hear, s"] for name in phases] == pytest.approx([2.0, 2.0, 0.0])


def test_a_loss_that_goes_on_into_the_next_phase_has_no_end_in_its_own(tmp_path: Path) -> None:
    measured = series(run(tmp_path, [CUT, loss("one", 290, 620)]), {"cut": Phase(30 * NS), "healed": Phase(60 * NS)})
    assert measured["cut to all receivers hear, s"] is None
    assert measured["healed to all receivers hear, s"] == pytest.approx(3.1)


def test_a_receiver_that_no_path_leads_to_is_not_waited_for(tmp_path: Path) -> None:
    cut = {"cut": Phase(30 * NS, frozenset({"b--c"}))}
    assert series(run(tmp_path, [CUT, loss("two", 290, 989)]), cut)["cut to all receivers hear, s"] == 0
    assert series(run(tmp_path, [CUT, loss("one", 290, 989)]), cut)["cut to all receivers hear, s"] is None


def test_without_a_fault_packets_are_lost_from_the_moment_on_at_which_all_heard(tmp_path: Path) -> None:
    measured = series(run(tmp_path, [loss("one", 0, 49), loss("two", 0, 29)]), {"run's start": Phase(0)})
    assert (measured["run's start to all receivers hear, s"], measured[LOST]) == (pytest.approx(6.0), 0)


def test_packets_that_a_receiver_missed_before_and_through_a_fault_are_the_fault_s_only_if_it_had_heard(
    tmp_path: Path,
) -> None:
    """Of the first receiver nothing was heard yet: its source's tree was not there before the fault."""
    for number, (first, missed, unheard) in enumerate([(0, 0, 1), (1, 41, None), (100, 41, None)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        measured = series(run(folder, [CUT, loss("one", first, 330)]), {"cut": Phase(30 * NS)})
        assert (measured[LOST], measured.get(UNHEARD)) == (missed, unheard)
    rows = [
        loss("one", 0, 299),
        loss("one", 300, 320),
        loss("one", 400, 404),
    ]  # two rows: the source had no power between
    again = tmp_path / "again"
    again.mkdir()
    measured = series(run(again, [CUT, *rows]), {"cut": Phase(30 * NS)})
    assert (measured[LOST], measured[UNHEARD]) == (5, 1)


def test_registers_are_keyed_when_every_router_and_the_rendezvous_point_say_so_since_their_last_boot(
    tmp_path: Path,
) -> None:
    def keyed(t_s: float, node: str, peer: str, state: str = "keyed") -> dict[str, Any]:
        return event(t_s, node, "agent", "pair", peer=peer, state=state)

    before = [keyed(3, "a", "b"), keyed(4, "b", "a"), keyed(5, "c", "b"), keyed(6, "b", "c")]
    power = [event(30, "a", "fault", "power_off"), event(40, "a", "fault", "power_on")]
    after = [keyed(45, "a", "b"), keyed(46, "b", "a", "lost"), keyed(47, "b", "a")]
    phases = {"boot": Phase(40 * NS)}
    streams = (ANYONE,)
    name = "boot to keys for Registers, s"
    assert series(run(tmp_path, [*before, *power, *after], streams), phases)[name] == pytest.approx(7)
    assert series(run(tmp_path, [*before, *power], streams), phases)[name] is None
    assert name not in series(run(tmp_path, power, streams), phases), "no agent makes such keys in this mode"


def test_a_power_failure_of_four_routers_in_the_guest_is_told_as_the_kernels_and_agents_had_it(tmp_path: Path) -> None:
    """Of a real run with LKSs, FRR 10.3: multicast routes, pairs, what was lost, faults."""
    streams = tuple(
        Stream(name=name, source="r3", group=group, receivers=("r2", "r4"), rate_pps=5, specific=name.startswith("s"))
        for name, group in (("any-1", "239.1.1.1"), ("specific-1", "232.1.1.1"))
    )
    plan = Plan(experiment="x", topology=load("ring:4"), keying="lks", duration_s=241, streams=streams)
    plan.write(tmp_path / "plan.json")
    (tmp_path / "record.jsonl").write_bytes(Path(__file__).with_name("power_failure_ring_4.jsonl").read_bytes())
    measured = Run(tmp_path)
    boots = [each["t"] for each in measured.where("fault", "power_on") if each["node"] != "dks"]
    off = min(each["t"] for each in measured.where("fault", "power_off"))
    assert series(measured, {"start": Phase(0, until=off), "boot": Phase(min(boots))}) == pytest.approx(
        {
            "start to all receivers hear, s": 12.839, "start to trees right, s": 12.843,
            "start to keys for Registers, s": 12.469, "boot to all receivers hear, s": 14.143,
            "boot to trees right, s": 14.148, "boot to keys for Registers, s": 13.800, LOST: 214,
            DUPLICATED: 0, SPARE: 0,
        }, abs=1e-3,
    )  # fmt: skip
    assert [(round(low / NS, 3), round(high / NS, 3)) for low, high in wrong_spans(measured)] == [
        (1.438, 12.843), (104.801, 116.244)
    ], "while all are without power no tree is wanted"  # fmt: skip


def test_a_run_without_streams_has_no_such_measures(tmp_path: Path) -> None:
    assert series(run(tmp_path, [CUT], ()), {"cut": Phase(30 * NS)}) == {}
