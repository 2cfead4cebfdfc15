"""The events file: one JSON object a line, each written in one write, appended to by several processes.

A few errors of a kind are written in a minute, and then the number of further ones. Knows nothing else of the meaning
of events.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.runtime.drops import EACH, OTHERS, WINDOW_S
from agents.runtime.effects import Event
from agents.runtime.journal import Journal
from agents.runtime.settings import ConfigError

KINDS = 256
"""The number of kinds of errors that are counted separately in a window."""
_KIND = ("what", "peer", "group", "interface")


class EventLog:
    """Appends events with the monotonic time (ns) of the write, and passes them to a journal. Without a path there is
    no file."""

    def __init__(self, path: Path | None, node: str, journal: Journal | None = None) -> None:
        """ConfigError when the file cannot be opened. A pipe without a reader is rejected, not waited for."""
        self._node, self._path, self._journal = node, path, journal
        self.subscriber: Callable[[str], None] | None = None
        """Gets every line too."""
        try:
            self._descriptor = _opened(path) if path is not None else None
        except OSError as error:
            raise ConfigError(f"{path}: events cannot be written there: {error.strerror}") from error
        self._lost = 0
        self._torn = False
        self._errors: Counter[tuple[tuple[str, str], ...]] = Counter()  # errors of this window, by kind and peer
        self._until = 0.0

    def write(self, event: Event, *, on_stderr: bool = False) -> None:
        """Append one event. Events that the disk refuses are counted, and an event `lost` has the count later.

        `on_stderr`: standard error reports it in other words.
        """
        heard = self._journal is not None and self._journal.shows(event) and not on_stderr
        if self._descriptor is None and self.subscriber is None and not heard:
            return
        for each in self._few(event):
            self._write(each, on_stderr=on_stderr and each is event)

    def _few(self, event: Event) -> list[Event]:
        """This event, unless it is an error of a kind that was reported often enough in this window; and at a window's
        end, the count of suppressed ones. A peer with a key can cause an error with each request."""
        now = time.monotonic()
        suppressed: list[Event] = []
        if now >= self._until:
            more = [(kind, count - EACH) for kind, count in self._errors.items() if count > EACH]
            suppressed = [Event("error", {**dict(kind), "suppressed": count}) for kind, count in more]
            self._errors.clear()
            self._until = now + WINDOW_S
        if event.kind == "error":
            kind = tuple((name, str(event.fields[name])) for name in _KIND if name in event.fields)
            if kind not in self._errors and len(self._errors) >= KINDS:
                kind = (("what", OTHERS),)
            self._errors[kind] += 1
            if self._errors[kind] > EACH:
                return suppressed
        return [*suppressed, event]

    def reopen(self) -> None:
        """Close the file and open it under its name again: it has been moved away. If it cannot be opened, this is
        reported and the old one is kept."""
        if self._path is None:
            return
        try:
            fresh = _opened(self._path)
        except OSError as error:
            self.write(Event("error", {"what": "events", "detail": f"{self._path}: {error.strerror}"}))
            return
        self.close()
        self._descriptor, self._torn = fresh, False

    def _write(self, event: Event, on_stderr: bool) -> None:
        if self._journal is not None and not on_stderr:
            self._journal.write(event)
        if self._descriptor is None and self.subscriber is None:
            return
        values: dict[str, Any] = {"t": time.monotonic_ns(), "node": self._node, "kind": event.kind}
        values.update(_plain(event.fields))
        line = json.dumps(values, separators=(",", ":"))
        if self._descriptor is not None:
            self._append(self._descriptor, line)
        if self.subscriber is not None:
            self.subscriber(line)

    def _append(self, descriptor: int, line: str) -> None:
        lines = "\n" if self._torn else ""
        if self._lost:
            values = {"t": time.monotonic_ns(), "node": self._node, "kind": "lost", "events": self._lost}
            lines += json.dumps(values, separators=(",", ":")) + "\n"
        octets = f"{lines}{line}\n".encode()
        try:
            written = os.write(descriptor, octets)
        except OSError:
            written = 0
        if written == len(octets):
            self._lost, self._torn = 0, False
        else:
            if not self._lost and self._journal is not None:  # the file cannot record it
                failure = {"what": "events", "detail": f"{self._path}: the disk takes no events; df -h says why"}
                self._journal.write(Event("error", failure))
            self._lost += 1
            self._torn = self._torn or written > 0

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: [str(each) for each in value] if isinstance(value, list | tuple) else _scalar(value)
        for name, value in fields.items()
    }


def _scalar(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
