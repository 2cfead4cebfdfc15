"""The control channel between the host and a running laboratory: small files in the run folder.

Sockets and pipes do not cross from one kernel to another; a folder that both see does. Every
message is a file of its own, written under another name and then renamed, so that it is seen
whole or not at all and no cache of file contents can be stale; the reader takes files in the
order of their numbers and removes them. Works the same for UML (hostfs) and the native kernel.

    control/requests/ID.json     one request          (host → guest)
    control/answers/ID.json      its answer           (guest → host)
    control/streams/ID/in.N      input of a command   (host → guest)
    control/streams/ID/in.end    there is no more     (host → guest)
    control/streams/ID/out.N     its output           (guest → host)
    control/streams/ID/err.N     its errors           (guest → host), where it has no terminal
    control/streams/ID/end       its exit code        (guest → host), after the last of its output
    control/streams/ID/stop      end it now           (host → guest)

A stream holds so many files at most: whoever writes looks whether it is `full`, and waits.

Both sides use it. It must not know what is asked.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testbed.whole import put as put

POLL_S = 0.05
STREAM_POLL_S = 0.02
MAX_UNREAD = 16
"""Files of a stream that wait for its reader."""
CHUNK = 65536
"""Octets of one of them, at most."""
CONSOLE = "console"
"""The stream of a laboratory's own prompt, where that has no terminal."""


def take(folder: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """The files of a folder with this suffix by name: (stem, content); each is removed."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith(".") or not name.endswith(suffix):
            continue
        path = folder / name
        try:
            data = path.read_bytes()
            path.unlink()
        except FileNotFoundError:
            continue
        yield name.removesuffix(suffix), data


class Stream:
    """One direction of bytes, as numbered files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name, self._next = folder, name, 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        put(self._folder / f"{self._name}.{self._next:09d}", data)
        self._next += 1

    @property
    def full(self) -> bool:
        """Whether the reader is so far behind that no more is to be written now."""
        return self._next >= MAX_UNREAD and (self._folder / f"{self._name}.{self._next - MAX_UNREAD:09d}").exists()

    def close(self) -> None:
        """Say that there is no more."""
        put(self._folder / f"{self._name}.end", b"")

    @property
    def closed(self) -> bool:
        """Whether there is no more than what `read` gives after this."""
        return (self._folder / f"{self._name}.end").exists()

    def read(self) -> bytes:
        """What has come since, perhaps nothing."""
        parts = []
        while True:
            path = self._folder / f"{self._name}.{self._next:09d}"
            try:
                parts.append(path.read_bytes())
                path.unlink()
            except FileNotFoundError:
                return b"".join(parts)
            self._next += 1


def folders(run_folder: Path) -> tuple[Path, Path, Path]:
    """The folders of requests, answers and streams; made if they are not there."""
    control = run_folder / "control"
    made = (control / "requests", control / "answers", control / "streams")
    for folder in made:
        folder.mkdir(parents=True, exist_ok=True)
    return made


def new_id() -> str:
    """A request's name."""
    return uuid.uuid4().hex


def encode(message: dict[str, Any]) -> bytes:
    """A message as a file's content."""
    return json.dumps(message).encode()
