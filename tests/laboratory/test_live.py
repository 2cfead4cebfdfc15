"""A run that is watched: its events come while it runs, and it repeats byte for byte."""

from __future__ import annotations

import base64
import gzip
import json
import re
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from testbed.analysis.run import Run
from testbed.record.live import newest
from testbed.record.plan import Flow, Plan, Stream
from testbed.runner.execute import RUNS, code_digest, play_one
from testbed.runner.experiment import step
from testbed.topology.resolved import Topology
from testbed.view.live import watching
from testbed.view.serve import PageServer


def shown(server: PageServer) -> list[dict[str, Any]]:
    """The events that a page has which is asked for now."""
    return events_of(urllib.request.urlopen(server.address, timeout=60).read().decode())


def events_of(page: str) -> list[dict[str, Any]]:
    """The events that a page has."""
    packed = re.search(r'id="data">([^<]+)<', page)
    if packed is None:
        return []
    data = json.loads(gzip.decompress(base64.b64decode(packed.group(1))))
    return [event for scene in data["scenes"] for event in scene["events"]]


def lost(events: Iterable[dict[str, Any]]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Rows of packets that were lost, by whom and from which on; a later word on a row takes the place of an earlier
    one."""
    rows = {}
    for each in events:
        if each["kind"] in ("loss", "stream_loss"):
            key = (each["kind"], each.get("receiver", ""), str(each["first_seq"]))
            rows[key] = each["last_seq"], each["sent_first_ns"], each["sent_last_ns"]
    return rows


def test_a_page_is_told_what_happens_and_a_watched_run_repeats_byte_for_byte(tmp_path: Path) -> None:
    plan = Plan(
        experiment="live", topology=Topology.load("line:2"), keying="lks", seed=1, duration_s=60.0, live=True,
        timeline=[step(20, "link_carrier_down", segment="r1--r2"), step(30, "link_carrier_up", segment="r1--r2")],
        flows=(Flow(src="r1", dst="r2", rate_pps=10.0),),
        streams=(Stream(name="s", source="r1", group="232.1.1.1", receivers=("r2",), rate_pps=10.0, specific=True),),
    )  # fmt: skip
    watched, again = tmp_path / "watched", tmp_path / "again"
    for folder in (watched, again):
        (folder / RUNS).mkdir(parents=True)
    seen: list[dict[str, Any]] = []
    with ThreadPoolExecutor(2) as pool, watching(newest(watched / RUNS, 0), 0) as server:
        runs = [pool.submit(play_one, plan, folder, "virtual", code_digest()) for folder in (watched, again)]
        while not runs[0].done() and "keyed" not in {each["kind"] for each in seen}:
            seen = shown(server)
        while_it_ran = not runs[0].done()
        outcomes = [run.result() for run in runs]
        assert all(outcome.done for outcome in outcomes)
    missed = lost(Run(outcomes[0].folder).events)
    # The server has taken in all that the run told before it ended.
    rows = lost(events_of(server.page if isinstance(server.page, str) else server.page()))
    assert while_it_ran and "keyed" in {each["kind"] for each in seen}, "told before the run had ended"
    assert rows == missed and {kind for kind, _, _ in missed} == {"loss", "stream_loss"}
    assert max(last - int(first) for (_, _, first), (last, _, _) in missed.items()) >= 100, "ten seconds without light"
    records = [(outcome.folder / "record.jsonl").read_bytes() for outcome in outcomes]
    assert records[0] == records[1] and len(records[0]) > 1000
    assert not (outcomes[0].folder / "live.jsonl").exists()
