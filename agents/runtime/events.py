"""The events file: one JSON object a line, each written in one write, appended to by several processes.

Knows nothing of what events mean.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.runtime.effects import Event
from agents.runtime.settings import ConfigError


class EventLog:
    """Appends events with the monotonic time (ns) at which they are written. Without a path: nowhere."""

    def __init__(self, path: Path | None, node: str) -> None:
        """ConfigError when the file cannot be opened. A pipe that nobody reads is refused, and not waited for."""
        self._node = node
        self.subscriber: Callable[[str], None] | None = None
        """Gets every line too."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._descriptor = os.open(path, flags, 0o644) if path is not None else None
        except OSError as error:
            raise ConfigError(f"{path}: events cannot be written there: {error.strerror}") from error
        self._lost = 0
        self._torn = False

    def write(self, event: Event) -> None:
        """Append one event. One that the disk refuses is counted, and an event `lost` tells the count later."""
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
        told = "\n" if self._torn else ""
        if self._lost:
            values = {"t": time.monotonic_ns(), "node": self._node, "kind": "lost", "events": self._lost}
            told += json.dumps(values, separators=(",", ":")) + "\n"
        octets = f"{told}{line}\n".encode()
        try:
            written = os.write(descriptor, octets)
        except OSError:
            written = 0
        if written == len(octets):
            self._lost, self._torn = 0, False
        else:
            self._lost += 1
            self._torn = self._torn or written > 0

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if value is None or isinstance(value, bool | int | float | str) else str(value)
        for name, value in fields.items()
    }
