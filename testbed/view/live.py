"""The run view of laboratories that run: the page so far, and what comes to it.

Follows the file that a laboratory tells its events in (testbed.record.live). Of several runs the one that began last is
shown. Knows nothing of HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed.analysis.run import PLAN
from testbed.keying.base import keying
from testbed.record.live import LIVE, Following
from testbed.record.plan import Plan
from testbed.record.writer import Event
from testbed.report.requests import Origin
from testbed.view.page import page
from testbed.view.scene import UNSHOWN, RouteSums, described
from testbed.view.serve import PageServer

LOOK_S = 0.3
WAITING = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<title>A laboratory starts</title></head><body><h1>A laboratory starts</h1><p>This page shows it as soon as it runs.</p>
</body></html>"""
Pick = Callable[[], Path | None]


class Watched:
    """One laboratory: all that it has told."""

    def __init__(self, folder: Path) -> None:
        """InputError for a folder without a plan."""
        self.folder = folder
        self._plan = Plan.read(folder / PLAN)
        self._following = Following(folder / LIVE)
        self._sums = RouteSums(self._plan.topology)
        self._events: list[Event] = []
        self.end = 0

    def more(self) -> list[Event]:
        """What has come, as a page takes it."""
        events: list[Event] = []
        for event in self._following.more():
            self.end = event["t"]
            events += [] if event["source"] in UNSHOWN else [event]
            events += self._sums.see(event)
        self._events += events
        return events

    @property
    def begun(self) -> bool:
        """Whether there is anything to show."""
        return bool(self._events)

    def scene(self) -> dict[str, Any]:
        """All of it."""
        start = int(self._events[0]["t"])
        return described(
            self._plan, Origin(start, "the run began"), (start, self.end), self._events,
            agents=keying(self._plan.keying).dks,
        )  # fmt: skip

    def close(self) -> None:
        """Follow it no more."""
        self._following.close()


Made = Callable[[Watched, int], str]
"""A page of what was told so far, which asks for what comes after so many messages."""


def as_it_is(watched: Watched, count: int) -> str:
    """The page that follows a laboratory: its cursor is at the end."""
    return page([watched.scene()], live=count)


class Watch:
    """Keeps a server's page the one of the laboratory that `pick` gives."""

    def __init__(self, server: PageServer, pick: Pick, made: Made = as_it_is) -> None:
        self._server, self._pick, self._made = server, pick, made
        self._current: Watched | None = None
        self._coming: Watched | None = None
        self._lock = threading.Lock()

    def look(self) -> None:
        """See what is new, and tell the pages."""
        folder = self._pick()
        with self._lock:
            if folder is not None and folder not in [each.folder for each in (self._current, self._coming) if each]:
                self._coming = Watched(folder)
            if self._coming is not None:
                self._coming.more()
                if self._coming.begun:
                    self._begin(self._coming)
                    return
            if self._current is not None:
                self._go_on(self._current)

    def _begin(self, watched: Watched) -> None:
        if self._current is not None:
            self._current.close()
            self._server.stream.put({}, "other")
        self._current, self._coming = watched, None
        self._server.page = self._page

    def _go_on(self, watched: Watched) -> None:
        events = watched.more()
        if events:
            self._server.stream.put({"events": events, "end": watched.end})

    def _page(self) -> str:
        with self._lock:
            assert self._current is not None
            return self._made(self._current, self._server.stream.count)


@contextmanager
def watching(pick: Pick, port: int) -> Iterator[PageServer]:
    """A page on the loopback while the block runs."""
    server = PageServer(WAITING, port)
    try:
        with following(server, pick):
            yield server
    finally:
        server.close()


@contextmanager
def following(server: PageServer, pick: Pick, made: Made = as_it_is) -> Iterator[None]:
    """The server's page follows what runs while the block does; then its readers are told that it is over."""
    watch, over = Watch(server, pick, made), threading.Event()

    def follow() -> None:
        while not over.wait(LOOK_S):
            watch.look()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        watch.look()
        server.stream.put({}, "over")
