"""The retained files of one agent, and those that its disk refuses for now (full, read-only, an I/O error).

What is refused is kept here and tried again, in the order in which it was asked for: a revocation list is on the disk
before the number that says that there is one. Until then `refuses` holds, and nobody may do what rests on it. Knows
nothing of what is in the files, nor when it is time to try again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agents.runtime.effects import Event, Persist
from agents.runtime.storage import write_atomic


class Disk:
    """One state folder. `tell`: told once when it begins to refuse, and once when all is written."""

    def __init__(self, folder: Path, tell: Callable[[Event], None]) -> None:
        self._folder, self._tell = folder, tell
        self._binding: list[Persist] = []
        """Not written yet, in order. It grows with signed lists and documents only: of two records of one name in a
        row the later one stays."""
        self._others: dict[str, Persist] = {}

    @property
    def refuses(self) -> bool:
        """Whether something is not on the disk that what follows rests on."""
        return bool(self._binding)

    @property
    def behind(self) -> bool:
        """Whether anything is to be tried again."""
        return bool(self._binding or self._others)

    def keep(self, file: Persist) -> None:
        """Have it on the disk now, or later."""
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
        """Try all that is not written."""
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
