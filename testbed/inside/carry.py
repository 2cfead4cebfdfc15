"""Starts commands in a running laboratory, in a terminal or with pipes, and carries what goes in and comes out.

`python3 -m testbed.inside.carry FOLDER COMMAND…` does so for one command, and leaves with its exit code. It must not
know what the commands are.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.attach.channel import CHUNK, STREAM_POLL_S, Stream, put
from testbed.net.namespace import Namespace

PATIENCE_S = 2.0
"""From SIGHUP to SIGKILL."""
# Programs that see no terminal print no colours and move no cursor.
_PLAIN = {"TERM": "dumb", "NO_COLOR": "1"}


@dataclass
class Command:
    """A command that runs: where its input goes (None: it has had all), and where its streams come from."""

    process: subprocess.Popen[bytes]
    sink: int | None
    sources: dict[str, int]
    terminal: bool = False


def in_terminal(
    namespace: Namespace, argv: Sequence[str], rows: int, columns: int, words: Mapping[str, str]
) -> Command:
    """Start it in a terminal of its own of this size, with `words` more in its environment. OSError."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    try:
        with namespace.enter():
            process = subprocess.Popen(
                argv, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal,
                env={**os.environ, "TERM": os.environ.get("TERM", "xterm"), **words},
            )  # fmt: skip
    except OSError:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return Command(process, os.dup(master), {"out": master}, terminal=True)


def with_pipes(
    argv: Sequence[str], namespace: Namespace | None = None, words: Mapping[str, str] | None = None
) -> Command:
    """Start it with three pipes, with `words` more in its environment. OSError."""
    with namespace.enter() if namespace is not None else contextlib.nullcontext():
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            start_new_session=True, env={**os.environ, **_PLAIN, **(words or {})},
        )  # fmt: skip
    assert process.stdin and process.stdout and process.stderr
    descriptors = [os.dup(each.fileno()) for each in (process.stdin, process.stdout, process.stderr)]
    for each in (process.stdin, process.stdout, process.stderr):
        each.close()
    return Command(process, descriptors[0], {"out": descriptors[1], "err": descriptors[2]})


async def carry(command: Command, folder: Path) -> int:
    """Carry a command's input and output until it has ended and all was said. Its exit code, 128 + N for signal N."""
    incoming, outgoing = Stream(folder, "in"), {name: Stream(folder, name) for name in command.sources}
    for descriptor in (*command.sources.values(), *filter(None, [command.sink])):
        os.set_blocking(descriptor, False)
    pending, stopped = b"", None
    while command.sources:
        for name, stream in outgoing.items():
            if name in command.sources and not stream.full:
                _forward(command, name, stream)
        pending = _feed(command, incoming, pending)
        if (folder / "stop").exists():
            now = time.monotonic()
            _signal(command, signal.SIGHUP if stopped is None else signal.SIGKILL if now > stopped else None)
            stopped = stopped or now + PATIENCE_S
        if command.sources:
            await asyncio.sleep(STREAM_POLL_S)
    if command.sink is not None:
        os.close(command.sink)
    while command.process.poll() is None:
        await asyncio.sleep(STREAM_POLL_S)
    code = command.process.returncode
    code = code if code >= 0 else 128 - code
    put(folder / "end", str(code).encode())
    return code


def _forward(command: Command, name: str, stream: Stream) -> None:
    """Carry what has been said on one stream. It is over when all writers have gone, or when the command has and is
    quiet: what it left in the background may keep the pipe open for ever."""
    source, ended, data, over = command.sources[name], command.process.poll() is not None, b"", False
    try:
        while len(data) < CHUNK and not over:
            part = os.read(source, CHUNK - len(data))
            data += part
            over = not part
    except BlockingIOError:
        over = ended and not data
    except OSError:  # a terminal's end
        over = True
    if data:
        stream.write(data)
    if over:
        os.close(source)
        del command.sources[name]


def _feed(command: Command, incoming: Stream, pending: bytes) -> bytes:
    """Give the command what has come for it, as much as it takes now. What is left."""
    over = incoming.closed  # before the read: what came in between is the next round's
    pending = pending or incoming.read()
    if command.sink is None:
        return b""
    if pending:
        try:
            return pending[os.write(command.sink, pending) :]
        except BlockingIOError:
            return pending
        except OSError:
            over = True  # it reads no more
    if over:
        if command.terminal:
            _signal(command, signal.SIGHUP)
        os.close(command.sink)
        command.sink = None
    return b""


def _signal(command: Command, number: signal.Signals | None) -> None:
    if number is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.process.pid, number)


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    return asyncio.run(carry(with_pipes(sys.argv[2:]), folder))


if __name__ == "__main__":
    sys.exit(main())
