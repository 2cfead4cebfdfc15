"""Reports the events of a running laboratory as they happen: a growing file beside the record, for a page to follow.

The record has the same events as without it, each some microseconds later in virtual time; so a run's plan says that it
is reported. The host reads the file with `Following`. Knows nothing of the events' meaning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from testbed.record.writer import Event, Recorder

LIVE, PLAN = "live.jsonl", "plan.json"
Source = Callable[[], Iterable[Event]]


class Live:
    """Appends to `path` the unreported events of the recorder and of the files of daemons and agents."""

    def __init__(self, path: Path, recorder: Recorder) -> None:
        self._path, self._recorder = path, recorder
        self._sent = 0
        self._files: dict[Path, tuple[int, int]] = {}
        """What was told of each file: its size then, and how many events."""
        self._path.touch()

    def tell(self, files: Iterable[tuple[Path, Source]], more: Iterable[Event] = ()) -> None:
        """All new events. `files`: each with the reader of its events. `more`: events that the record has in another
        form, or later."""
        fresh = self._recorder.since(self._sent)
        self._sent += len(fresh)
        fresh += more
        for path, read in files:
            size, count = self._files.get(path, (0, 0))
            now = path.stat().st_size if path.exists() else 0
            if now == size:
                continue
            events = list(read())
            # A file that begins anew, after a power failure, has fewer events than were told.
            fresh += events[count:] if len(events) >= count else events
            self._files[path] = now, len(events)
        if fresh:
            with open(self._path, "a", encoding="utf-8") as file:
                for event in sorted(fresh, key=lambda event: int(event["t"])):
                    file.write(json.dumps(event, separators=(",", ":"), default=str) + "\n")


class Following:
    """Reads the file as it grows. A late event gets the time of the last reported one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._rest = b""
        self._last = 0

    def more(self) -> list[Event]:
        """What has come since the last call; nothing while there is no file, or no whole line."""
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return []
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        events = []
        for line in lines:
            event = json.loads(line)
            self._last = event["t"] = max(self._last, int(event["t"]))
            events.append(event)
        return events

    def close(self) -> None:
        """Read no more."""
        if self._file is not None:
            self._file.close()


def newest(folder: Path, since: float) -> Callable[[], Path | None]:
    """The run in this folder that began last, if after `since` (Unix seconds)."""

    def pick() -> Path | None:
        began = [((path.parent / PLAN).stat().st_mtime, path.parent) for path in folder.glob(f"*/{LIVE}")]
        return max([each for each in began if each[0] >= since], default=(0.0, None), key=lambda each: each[0])[1]

    return pick
