"""Wall-clock time, to which a laboratory can add an offset from a file. Knows nothing of its users."""

from __future__ import annotations

import time
from pathlib import Path

from agents.runtime.storage import read_all


class WallClock:
    """Unix seconds. `offset_file`: a text file with seconds to add, read each time; absent: 0."""

    def __init__(self, offset_file: Path | None = None) -> None:
        self._offset_file = offset_file

    def __call__(self) -> float:
        offset = 0.0
        if self._offset_file is not None:
            try:
                offset = float(read_all(self._offset_file))
            except (OSError, ValueError):
                offset = 0.0
        return time.time() + offset
