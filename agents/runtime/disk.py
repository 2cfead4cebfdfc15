"""The retained files of one agent, and those that its disk refuses for now (full, read-only, an I/O error).

Refused files are kept in memory and tried again in order: a revocation list is on the disk before the number that
refers to it. Until then `refuses` is true, and nothing that depends on them may be done. Knows nothing of the files'
content, nor of when to try again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agents.runtime.effects import Event, Persist
from agents.runtime.storage import write_atomic


class Disk:
    """One state folder. `tell`: called once when it begins to refuse, and once when everything is written."""

    def __init__(self, folder: Path, tell: Callable[[Event], None]) -> None:
        self._folder, self._tell = folder, tell
        self._binding: list[Persist] = []
        """Not written yet, in order. Only signed lists and documents make it grow: of two successive records with one
        name, the later one stays."""
        self._others: dict[str, Persist] = {}

    @property
    def refuses(self) -> bool:
        """True if a file is not on the disk that later effects depend on."""
        return bool(self._binding)

    @property
    def behind(self) -> bool:
        """True if a write must be tried again."""
        return bool(self._binding or self._others)

    def keep(self, file: Persist) -> None:
        """Write it to the disk now, or later."""
        if file.binding and self._binding:
            self._queue(file)
            return
        try:
            write_atomic(self._folder / file.name, file.data)
            self._others.pop(file.name, None)
        except OSError as error:
            fresh = not self.behind
            self._queue(file)
            if fresh:
                self._tell(Event("error", {"what": "disk", "file": file.name, "detail": str(error)}))

    def _queue(self, file: Persist) -> None:
        if not file.binding:
            self._others[file.name] = file
        elif self._binding and self._binding[-1].name == file.name:
            self._binding[-1] = file
        else:
            self._binding.append(file)

    def again(self) -> None:
        """Try all unwritten files."""
        count = len(self._binding) + len(self._others)
        try:
            while self._binding:
                write_atomic(self._folder / self._binding[0].name, self._binding[0].data)
                del self._binding[0]
            for name, file in list(self._others.items()):
                write_atomic(self._folder / name, file.data)
                del self._others[name]
        except OSError:
            return
        if count:
            self._tell(Event("disk", {"state": "written", "files": count}))
