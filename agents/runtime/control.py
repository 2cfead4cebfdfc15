"""A Unix socket on which a running agent answers its own router: one line of JSON in, lines of JSON out.

`{"command": "status"}` is answered with `{"result": ...}` or `{"error": "..."}`. `{"command": "events"}` is answered
with every event from then on, until the client disconnects. The file has mode 0600: the user that can open it is the
administrator. Knows nothing of the meaning of commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MAX_REQUEST = 1 << 20
"""Octets of a line: `revocation` brings a whole signed list, `accept` several documents."""
MAX_BACKLOG = 1 << 20
"""Octets that a subscriber may be behind; then it is disconnected."""
PATIENCE_S = 5.0
MAX_CLIENTS = 32
"""Concurrent connections; one more is told to try again."""

Answer = Callable[[Sequence[str]], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]


class CommandRefused(Exception):
    """A command that is unknown, or that cannot be done now; the text says why."""


class ControlServer:
    """Serves one socket. `answer`: from the command's words to a result; CommandRefused.

    `watched`: called with whether a client follows the events, whenever that changes.
    """

    def __init__(self, path: Path, answer: Answer, watched: Callable[[bool], None] = lambda _watched: None) -> None:
        self._path, self._answer, self._watched = path, answer, watched
        self._server: asyncio.Server | None = None
        self._subscribers: set[asyncio.StreamWriter] = set()
        self._clients = 0

    async def start(self) -> None:
        """Listen. OSError when the folder is missing or the path is too long for a socket (107 octets)."""
        listener = _bind(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_REQUEST)

    def stop(self) -> None:
        """Disconnect all clients and remove the file."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)
        for writer in self._subscribers:
            writer.close()
        self._subscribers.clear()

    def publish(self, line: str) -> None:
        """Send an event to all subscribers. One that does not read is disconnected."""
        for writer in list(self._subscribers):
            writer.write(line.encode() + b"\n")
            if writer.is_closing() or writer.transport.get_write_buffer_size() > MAX_BACKLOG:
                self._unsubscribe(writer)
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            with contextlib.suppress(TimeoutError, ConnectionError, asyncio.LimitOverrunError, ValueError):
                if self._clients > MAX_CLIENTS:
                    writer.write(
                        json.dumps({"error": f"{MAX_CLIENTS} other clients are connected; try again"}).encode() + b"\n"
                    )
                    return
                words = _words(await asyncio.wait_for(reader.readline(), PATIENCE_S))
                if words == ["events"]:
                    self._subscribe(writer)
                    while await reader.read(4096):
                        pass  # ends when the client disconnects; its further input is dropped
                else:
                    writer.write(json.dumps(await self._outcome(words)).encode() + b"\n")
                    await asyncio.wait_for(writer.drain(), PATIENCE_S)
        finally:
            self._clients -= 1
            self._unsubscribe(writer)
            writer.close()

    def _subscribe(self, writer: asyncio.StreamWriter) -> None:
        self._subscribers.add(writer)
        if len(self._subscribers) == 1:
            self._watched(True)

    def _unsubscribe(self, writer: asyncio.StreamWriter) -> None:
        if writer in self._subscribers:
            self._subscribers.discard(writer)
            if not self._subscribers:
                self._watched(False)

    async def _outcome(self, words: list[str]) -> dict[str, Any]:
        try:
            answer = self._answer(words)
            return {"result": dict(await answer if isinstance(answer, Awaitable) else answer)}
        except CommandRefused as refusal:
            return {"error": str(refusal)}


def _bind(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()  # of an agent that was killed
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _words(line: bytes) -> list[str]:
    """ValueError for anything but {"command": "word ..."}."""
    try:
        request = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(request, dict) or not isinstance(request.get("command"), str):
        raise ValueError("no command")
    return str(request["command"]).split()


# -- the client's side ------------------------------------------------------------------------------


def ask(path: Path, command: str, timeout_s: float | None = None) -> dict[str, Any]:
    """The answer to a command. CommandRefused; OSError when no agent answers there in time."""
    for answer in follow(path, command, timeout_s):
        if "error" in answer:
            raise CommandRefused(str(answer["error"]))
        return dict(answer["result"])
    raise ConnectionResetError(f"{path}: the agent gave no answer")


def answers(path: Path) -> bool:
    """True if an agent answers there."""
    try:
        ask(path, "status", PATIENCE_S)
    except CommandRefused:
        return True
    except (OSError, ValueError):
        return False
    return True


def follow(path: Path, command: str, timeout_s: float | None = None) -> Iterator[dict[str, Any]]:
    """The lines that the agent answers with, as they come. OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
        connection.sendall(json.dumps({"command": command}).encode() + b"\n")
        with connection.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
