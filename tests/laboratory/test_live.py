"""A run that is watched: its events come while it runs, and it repeats byte for byte."""

from __future__ import annotations

import base64
import gzip
import json
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from testbed.record.live import newest
from testbed.record.plan import Plan
from testbed.runner.execute import RUNS, code_digest, play_one
from testbed.topology.resolved import Topology
from testbed.view.live import watching


def shown(page: str) -> list[str]:
    """The kinds of events that a page has."""
    packed = re.search(r'id="data">([^<]+)<', page)
    if packed is None:
        return []
    data = json.loads(gzip.decompress(base64.b64decode(packed.group(1))))
    return [event["kind"] for scene in data["scenes"] for event in scene["events"]]


def test_a_page_is_told_what_happens_and_a_watched_run_repeats_byte_for_byte(tmp_path: Path) -> None:
    plan = Plan(experiment="live", topology=Topology.load("line:2"), keying="lks", seed=1, duration_s=60.0, live=True)
    watched, again = tmp_path / "watched", tmp_path / "again"
    for folder in (watched, again):
        (folder / RUNS).mkdir(parents=True)
    seen: list[str] = []
    with ThreadPoolExecutor(2) as pool, watching(newest(watched / RUNS, 0), 0) as server:
        runs = [pool.submit(play_one, plan, folder, "virtual", code_digest()) for folder in (watched, again)]
        while not runs[0].done() and "keyed" not in seen:
            seen = shown(urllib.request.urlopen(server.address, timeout=60).read().decode())
        while_it_ran = not runs[0].done()
        outcomes = [run.result() for run in runs]
    assert all(outcome.done for outcome in outcomes)
    assert while_it_ran and "keyed" in seen, "told before the run had ended"
    records = [(outcome.folder / "record.jsonl").read_bytes() for outcome in outcomes]
    assert records[0] == records[1] and len(records[0]) > 1000
    assert not (outcomes[0].folder / "live.jsonl").exists()
