"""Reads which processes there are on this machine, and whose children. Knows nothing of what they do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ENDED = "ZX"
"""States (proc(5)) of a process that has ended and is not buried."""


class Entry(NamedTuple):
    """One process."""

    pid: int
    state: str
    parent: int


def table() -> Iterator[Entry]:
    """All of them; who ends meanwhile may be left out."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            yield Entry(int(name), fields[0], int(fields[1]))
