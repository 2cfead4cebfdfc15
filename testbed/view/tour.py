"""Plays the guided tour's run in a guest, and makes its page: while it runs, and when it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from testbed.analysis.run import Run
from testbed.faults.check import check_plan
from testbed.record.live import newest
from testbed.record.writer import Event
from testbed.runner.execute import RUNS, play_alone
from testbed.topology.resolved import Topology
from testbed.view.demo import SINCE, TOPOLOGY, Demo, story
from testbed.view.live import Watched, following
from testbed.view.page import page
from testbed.view.scene import scene
from testbed.view.serve import PageServer


def tour(folder: Path, speed: int) -> str:
    """The page of the whole tour. The run is kept below `folder`. LabError when it could not be played."""
    plan = Demo().plan(Topology.load(TOPOLOGY), "lks", 1, {}).model_copy(update={"live": True})
    check_plan(plan)
    run = Run(play_alone(plan, folder).folder)
    return _page(scene(run), run.events, speed)


def shown(folder: Path, speed: int, server: PageServer, opened: Callable[[], None]) -> None:
    """As `tour`, on a server that tells it from the moment on at which the network runs: it is told more slowly than it
    happens. `opened` is called whenever a browser gets the page while the network runs."""

    def so_far(watched: Watched, count: int) -> str:
        opened()
        raw = watched.scene()
        return _page(raw, raw["events"], speed, live=count)

    with following(server, newest(folder / RUNS, 0), so_far):
        whole = tour(folder, speed)
    server.page = whole


def _page(raw: dict[str, Any], events: Iterable[Event], speed: int, *, live: int | None = None) -> str:
    """What the guest tells first has the event `ready` in it."""
    ready = next(int(event["t"]) for event in events if (event["source"], event["kind"]) == ("lab", "ready"))
    return page([{**raw, "name": Demo.title, "zero": ready, "since": SINCE}], story(ready), speed, live)
