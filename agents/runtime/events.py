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


class EventLog:
    """Appends events with the monotonic time (ns) at which they are written. Without a path: nowhere."""

    def __init__(self, path: Path | None, node: str) -> None:
        self._node = node
        self.subscriber: Callable[[str], None] | None = None
        """Gets every line too."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o644) if path is not None else None

    def write(self, event: Event) -> None:
        """Append one event. OSError when the disk is full."""
        if self._descriptor is None and self.subscriber is None:
            return
        values: dict[str, Any] = {"t": time.monotonic_ns(), "node": self._node, "kind": event.kind}
        values.update(_plain(event.fields))
        line = json.dumps(values, separators=(",", ":"))
        if self._descriptor is not None:
            os.write(self._descriptor, (line + "\n").encode())
        if self.subscriber is not None:
            self.subscriber(line)

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
