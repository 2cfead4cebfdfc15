"""Writes the record of a run: events gathered in memory, merged by time, one JSON object a line.

Time is CLOCK_MONOTONIC of the machine that the nodes live on, in nanoseconds. Knows nothing of the events' meaning.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Recorder:
    """The events of one run, in the order they came."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def __call__(self, node: str, source: str, kind: str, *, t: int | None = None, **fields: Any) -> None:
        """Add one event; `t` in monotonic nanoseconds, now if None."""
        moment = time.monotonic_ns() if t is None else t
        self._events.append({"t": moment, "node": node, "source": source, "kind": kind, **fields})

    def extend(self, events: Iterable[Event]) -> None:
        """Add events that were timed elsewhere."""
        self._events.extend(events)

    def since(self, count: int) -> list[Event]:
        """The events after the first `count`."""
        return self._events[count:]

    def merged(self) -> list[Event]:
        """All events by time; events of one moment in the order of their arrival."""
        return sorted(self._events, key=lambda event: int(event["t"]))

    def write(self, path: Path) -> int:
        """Write the record; the number of events."""
        events = self.merged()
        with open(path, "w", encoding="utf-8") as file:
            for event in events:
                file.write(json.dumps(event, separators=(",", ":"), default=str) + "\n")
        return len(events)


def agent_events(path: Path, node: str) -> Iterator[Event]:
    """The events that an agent appended to its file; a last line cut off by a power cut is left out.

    A line that is not an event becomes a `lab` event of kind `bad_event`, at time 0, so that it is visible.
    """
    if not path.exists():
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.endswith("\n"):
                return
            try:
                event = json.loads(line)
                moment, kind = int(event.pop("t")), str(event.pop("kind"))
            except (ValueError, KeyError, TypeError, AttributeError):
                yield {"t": 0, "node": node, "source": "lab", "kind": "bad_event", "line": line}
                continue
            name = str(event.pop("node", node))
            if "source" in event:  # an origin, in the words of older agents; in a record it is who wrote
                event["origin"] = event.pop("source")
            yield {"t": moment, "node": name, "source": "agent", "kind": kind, **event}
