"""The live view: what a laboratory tells as it runs comes to the page, in order, and nothing twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from testbed.analysis.multicast import silences
from testbed.analysis.run import NS, Run
from testbed.record.live import LIVE, Following, Live, newest
from testbed.record.plan import Flow, Stream
from testbed.record.writer import Recorder, agent_events
from testbed.view.live import WAITING, Watch
from testbed.view.page import page as html
from testbed.view.scene import scene
from testbed.view.serve import PageServer


def told(path: Path) -> list[str]:
    return [json.loads(line)["kind"] for line in path.read_text().splitlines()]


def test_only_what_is_new_is_told_in_the_order_of_time(tmp_path: Path) -> None:
    recorder, file = Recorder(), tmp_path / "r1.events"
    live = Live(tmp_path / LIVE, recorder)

    def tell() -> list[str]:
        live.tell([(file, lambda: agent_events(file, "r1"))])
        return told(tmp_path / LIVE)

    assert tell() == []
    recorder("lab", "lab", "late", t=9)
    file.write_text('{"t": 3, "kind": "keyed"}\n{"t": 4, "kind": "cut')
    assert tell() == ["keyed", "late"]
    with file.open("a") as more:
        more.write('"}\n')
    recorder("lab", "lab", "last", t=11)
    assert tell() == tell() == ["keyed", "late", "cut", "last"]
    file.write_text('{"t": 20, "kind": "new"}\n')  # begun anew
    assert tell() == ["keyed", "late", "cut", "last", "new"]
    assert [event["kind"] for event in recorder.merged()] == ["late", "last"], "the record is as without it"


def test_a_file_is_followed_by_whole_lines_and_time_never_runs_backwards(tmp_path: Path) -> None:
    following = Following(tmp_path / LIVE)
    assert following.more() == []
    with (tmp_path / LIVE).open("w") as file:
        file.write('{"t": 5, "kind": "a"}\n{"t": 3, "ki')
        file.flush()
        assert following.more() == [{"t": 5, "kind": "a"}]
        file.write('nd": "b"}\n')
        file.flush()
        assert following.more() == [{"t": 5, "kind": "b"}]
    assert following.more() == []
    following.close()


def test_of_several_runs_the_one_that_began_last_is_watched(tmp_path: Path) -> None:
    for number, name in enumerate(("old", "first", "second")):
        (tmp_path / name).mkdir()
        for file in (LIVE, "plan.json"):
            (tmp_path / name / file).touch()
        os.utime(tmp_path / name / "plan.json", (1000 + number, 1000 + number))
    os.utime(tmp_path / "first" / LIVE)
    assert newest(tmp_path, 1001)() == tmp_path / "second"
    assert newest(tmp_path, 1003)() is None


@pytest.fixture
def running(build: Callable[..., Run], tmp_path: Path) -> tuple[Run, Path]:
    """A finished run, and the folder of one that tells the same so far."""
    tap = {"t": 40 * NS, "node": "intruder", "source": "probe", "kind": "tap", "segment": "r1--r2"}
    run, folder = build("lks", 1, more=[tap]), tmp_path / "running"
    folder.mkdir()
    (folder / "plan.json").write_bytes((run.folder / "plan.json").read_bytes())
    return run, folder


def test_a_page_grows_with_a_laboratory_and_says_in_the_end_what_its_record_says(
    running: tuple[Run, Path], page: Page
) -> None:
    run, folder = running
    server = PageServer(WAITING)
    watch = Watch(server, lambda: folder)
    try:
        page.goto(server.address)
        assert "A laboratory starts" in page.title()
        half = len(run.events) // 2
        with (folder / LIVE).open("w") as file:
            for number, event in enumerate(run.events):
                file.write(json.dumps(event) + "\n")
                if number in (half, half + 20):
                    file.flush()
                    watch.look()
                if number == half:  # the page of patience loads itself again
                    page.get_by_text("the cursor at the end moves on").wait_for()
                    page.locator("#maps svg").wait_for()
        for _ in range(2):
            watch.look()
        server.stream.put({}, "over")
        page.get_by_text("It has ended.").wait_for()
        sums = page.evaluate("player.scenes[0].sums(player.scenes[0].end)")
        page.evaluate("raw => { globalThis.whole = new Scene(raw) }", scene(run))
        assert sums == page.evaluate("whole.sums(whole.end)")
        assert sums["intruded"] == ["r1--r2"]
        at_s = (run.events[-1]["t"] - run.events[0]["t"]) / NS
        assert page.locator("#now").inner_text().startswith(f"{at_s:.3f} s since the run began")
        again = page.context.browser.new_page()  # type: ignore[union-attr]
        again.goto(server.address)
        again.locator("#maps svg").wait_for()
        assert again.evaluate("player.scenes[0].sums(player.scenes[0].end)") == sums, "who comes late sees it all"
        again.close()
    finally:
        server.close()


ROWS = "scene => [scene.lost, ...scene.streams.values()].map(rows => [...rows].sort((a, b) => a[0] - b[0]))"


def test_lost_probe_and_multicast_packets_come_live_and_are_those_of_the_record_in_the_end(
    build: Callable[..., Run], tmp_path: Path, page: Page
) -> None:
    gap = NS // 10

    def loss(first: int, last: int, **own: str) -> dict[str, Any]:
        kind = {
            "t": first * gap,
            "node": "lab",
            "source": "probe",
            "kind": "stream_loss" if "stream" in own else "loss",
        }
        row = {"first_seq": first, "last_seq": last, "sent_first_ns": first * gap, "sent_last_ns": last * gap}
        return {**kind, **own, **row}

    one, two = {"stream": "s", "receiver": "r2"}, {"stream": "s", "receiver": "r3"}
    kept = [loss(900, 1100, flow="r1->r3"), loss(900, 1150, **one), loss(1000, 1020, **two), loss(1300, 1300, **two)]
    streams = (Stream(name="s", source="r1", group="232.1.1.1", receivers=("r2", "r3"), rate_pps=10.0, specific=True),)
    flows = (Flow(src="r1", dst="r3", rate_pps=10.0),)
    run, folder = build("lks", 1, streams=streams, flows=flows, more=kept), tmp_path / "running"
    folder.mkdir()
    (folder / "plan.json").write_bytes((run.folder / "plan.json").read_bytes())
    probes = [event for event in run.events if event["source"] == "probe"]
    others = [event for event in run.events if event["source"] != "probe"]
    server = PageServer(WAITING)
    watch = Watch(server, lambda: folder)
    try:
        with (folder / LIVE).open("w") as file:
            for event in others:
                file.write(json.dumps(event) + "\n")
                if event is others[len(others) // 2]:
                    file.flush()
                    watch.look()
                    page.goto(server.address)
                    page.locator("#maps svg").wait_for()
                    lanes = page.locator(".lane span").all_inner_texts()
                    assert {"stream s not heard", "probe packets lost"} <= set(lanes), "before anything was lost"
            # Rows grow while a run is watched: each is told of in part first.
            parts = [{**each, "last_seq": each["first_seq"], "sent_last_ns": each["sent_first_ns"]} for each in kept]
            for each in [*parts, *probes]:
                file.write(json.dumps(each) + "\n")
        watch.look()
        server.stream.put({}, "over")
        page.get_by_text("It has ended.").wait_for()
        rows = page.evaluate(f"({ROWS})(player.scenes[0])")
        page.evaluate("raw => { globalThis.whole = new Scene(raw) }", scene(run))
        assert rows == page.evaluate(f"({ROWS})(whole)")
        assert rows[0] == [[900 * gap, 1100 * gap, "r1->r3", 201]]
        missed = {(receiver, low, high) for (_, receiver), spans in silences(run).items() for low, high in spans}
        assert {(receiver, low, high) for low, high, receiver, _count in rows[1]} == missed and len(missed) == 3
        for at, missing in ((899, 0), (900, 1), (1010, 2), (1100, 1), (1151, 0), (1300, 1)):
            assert page.evaluate("t => player.scenes[0].sums(t).missing", at * gap) == missing, at
        page.evaluate("t => player.go(player.scenes[0].seconds(t))", 1010 * gap)
        assert "2 of 2 receivers miss packets of a stream" in page.locator("#now").inner_text()
    finally:
        server.close()


def test_a_tour_waits_where_its_network_has_not_been_and_ends_where_it_ended(
    running: tuple[Run, Path], page: Page
) -> None:
    run, folder = running
    server = PageServer(WAITING)
    watch = Watch(server, lambda: folder, lambda watched, count: html([watched.scene()], [(0, "Once.")], 100, count))
    lines = [json.dumps(event) + "\n" for event in run.events]
    half = len(lines) // 2
    try:
        (folder / LIVE).write_text("".join(lines[:half]))
        watch.look()
        page.clock.install()
        page.goto(server.address)
        page.locator("#now:not(:empty)").wait_for()
        page.clock.run_for(10_000)
        assert page.evaluate("[player.playing, player.cursor < player.until]") == [True, False]
        assert page.locator("#told").inner_text() == "Once."
        with (folder / LIVE).open("a") as file:
            file.writelines(lines[half:])
        watch.look()
        server.stream.put({}, "over")
        page.locator("#live:empty").wait_for(state="attached")
        page.clock.run_for(10_000)
        assert page.evaluate("[player.playing, player.cursor < player.until]") == [False, False]
        assert page.evaluate("player.scenes[0].moment(player.cursor)") == pytest.approx(run.events[-1]["t"], abs=1000)
    finally:
        server.close()


def test_when_another_run_begins_the_page_is_that_ones(
    running: tuple[Run, Path], build: Callable[..., Run], tmp_path: Path, page: Page
) -> None:
    run, folder = running
    now = [folder]
    server = PageServer(WAITING)
    watch = Watch(server, lambda: now[0])
    try:
        for each in (run, build("none", 2)):
            now[0] = tmp_path / each.plan.keying
            now[0].mkdir()
            (now[0] / "plan.json").write_bytes((each.folder / "plan.json").read_bytes())
            watch.look()  # it has told nothing yet
            (now[0] / LIVE).write_text("".join(json.dumps(event) + "\n" for event in each.events))
            watch.look()
            if each is run:
                page.goto(server.address)
                page.get_by_text("the cursor at the end moves on").wait_for()
        page.get_by_role("heading", name="storm, none, seed 2").wait_for()
    finally:
        server.close()


def test_of_many_listeners_the_last_is_refused_and_a_foreign_host_hears_nothing(running: tuple[Run, Path]) -> None:
    import http.client

    server = PageServer(WAITING)
    server.stream.put({"events": []})
    port = int(server.address.split(":")[2].strip("/"))
    connections = []

    def ask(host: str = "127.0.0.1") -> int:
        connections.append(http.client.HTTPConnection("127.0.0.1", port))
        connections[-1].request("GET", "/events?after=0", headers={"Host": f"{host}:{port}"})
        return connections[-1].getresponse().status

    try:
        assert ask("evil.example") == 404
        assert [ask() for _ in range(16)] == [200] * 16
        assert ask() == 503
    finally:
        server.close()
        for each in connections:
            each.close()
