"""Talks to FRR daemons over their vty sockets: milliseconds where a vtysh process takes hundreds.

The protocol: a command, a zero byte; the answer ends with three zero bytes and one of status.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from testbed.errors import LabError

_END = b"\0\0\0"
_SUCCESS, _WARNING = 0, 1


class VtyError(LabError):
    """The daemon does not answer, or refuses a command."""


class Vty:
    """A connection to one daemon, in enable mode."""

    def __init__(self, path: Path, timeout_s: float = 10.0) -> None:
        """Connect. VtyError when nobody listens."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
            self.command("enable")
        except OSError as error:
            self._socket.close()
            raise VtyError(f"no answer: {error}", where=str(path)) from None

    def command(self, line: str) -> str:
        """The answer to one command. VtyError when the daemon refuses it."""
        try:
            self._socket.sendall(line.encode() + b"\0")
            answer = b""
            while len(answer) < 4 or answer[-4:-1] != _END:
                part = self._socket.recv(65536)
                if not part:
                    raise VtyError(f"closed while answering {line!r}", where=str(self._path))
                answer += part
        except OSError as error:
            raise VtyError(f"{line!r}: {error}", where=str(self._path)) from None
        text = answer[:-4].decode(errors="replace")
        if answer[-1] not in (_SUCCESS, _WARNING):
            raise VtyError(
                f"{line!r} refused with status {answer[-1]}: {text.strip()}",
                where=str(self._path),
            )
        return text

    def json(self, line: str) -> Any:
        """The answer to a `show ... json`, decoded."""
        text = self.command(line)
        try:
            return json.loads(text)
        except ValueError as error:
            raise VtyError(f"{line!r} gave no JSON: {error}", where=str(self._path)) from None

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> Vty:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def answers(path: Path) -> bool:
    """Whether a daemon listens on this socket now, its configuration read."""
    try:
        with Vty(path, timeout_s=5.0) as vty:
            vty.command("show version")
    except VtyError:
        return False
    return True
