"""A program's standard input, output and error: a terminal, a pipe, a file, a full disk, closed.

A failed write ends the program in a plain way, wherever it happens: silently with 141 when the reader has gone (a shell
calls it SIGPIPE), with 3 and one line when the disk is full. Knows nothing of the program.
"""

from __future__ import annotations

import io
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from agents.runtime.exits import EXIT_STATE

READER_GONE = 128 + signal.SIGPIPE


def prepare(program: str) -> None:
    """Call it first. Closed descriptors become /dev/null, so that no file opened later takes their place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free one: this one
            os.set_inheritable(opened, True)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = _text(_Output(program), sys.stdout)
    sys.stderr = _text(_Errors(), sys.stderr)


def run(program: str, main: Callable[[], int]) -> NoReturn:
    """Leave with the exit code of `main`, with all of its output written. Ctrl-C ends it silently."""
    prepare(program)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        sys.stdout.flush()


def written() -> bool:
    """True if anything has been written to standard output since `prepare`."""
    sys.stdout.flush()
    raw = getattr(sys.stdout.buffer, "raw", None)
    return isinstance(raw, _Output) and raw.octets > 0


def reader_gone() -> bool:
    """True if standard output is a pipe that has lost its reader."""
    watched = select.poll()
    watched.register(1, 0)
    return any(events & select.POLLERR for _descriptor, events in watched.poll(0))


class _Output(io.RawIOBase):
    """Standard output. Its failure is not an OSError: handlers of OSError mean their own files."""

    descriptor = 1

    def __init__(self, program: str = "") -> None:
        self._program = program
        self.octets = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)

    def write(self, data: Any) -> int:
        while True:
            try:
                done = os.write(self.descriptor, data)
                self.octets += done
                return done
            except BlockingIOError:  # another process has made our pipe non-blocking
                select.select([], [self.descriptor], [])
            except OSError as error:
                # The buffered rest is dropped, and fails no second time when the program ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), self.descriptor)
                self._failed(error)
                return len(data)

    def _failed(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            raise SystemExit(READER_GONE)
        print(f"{self._program}: standard output cannot be written: {error.strerror}", file=sys.stderr)
        raise SystemExit(EXIT_STATE)


class _Errors(_Output):
    """Standard error. Without a reader, the work continues silently."""

    descriptor = 2

    def _failed(self, error: OSError) -> None:
        pass


def _text(raw: _Output, before: Any) -> io.TextIOWrapper:
    """Characters that the terminal or the locale lacks are replaced: they must not end the program."""
    encoding = "utf-8" if before is None else before.encoding
    errors = "backslashreplace" if raw.descriptor == 2 else "replace"
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=raw.descriptor == 2 or raw.isatty()
    )
