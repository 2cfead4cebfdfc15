"""Standard input, output and error as a program finds them: a terminal, a pipe, a file, a full disk, closed.

What cannot be written ends the program in a plain way, from wherever it was written: 141 without a word when the reader
has gone (what a shell calls SIGPIPE), 3 with one line when the disk is full. Knows nothing of the program.
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
    """Call it first. Closed descriptors become /dev/null, so that no file that is opened later takes their place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
            os.set_inheritable(opened, True)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = _text(_Output(program), sys.stdout)
    sys.stderr = _text(_Errors(), sys.stderr)


def run(program: str, main: Callable[[], int]) -> NoReturn:
    """Leave with the exit code of `main`, all of its output written. Ctrl-C ends it without a word."""
    prepare(program)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        sys.stdout.flush()


def written() -> bool:
    """Whether anything has been written to standard output since `prepare`."""
    sys.stdout.flush()
    raw = getattr(sys.stdout.buffer, "raw", None)
    return isinstance(raw, _Output) and raw.octets > 0


def reader_gone() -> bool:
    """Whether nobody reads the pipe any more that is our standard output."""
    watched = select.poll()
    watched.register(1, 0)
    return any(events & select.POLLERR for _descriptor, events in watched.poll(0))


class _Output(io.RawIOBase):
    """Standard output. Its failure is no OSError: whoever handles those means a file of his own."""

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
            except BlockingIOError:  # somebody else has made our pipe so
                select.select([], [self.descriptor], [])
            except OSError as error:
                # What is still in buffers goes nowhere, and fails no second time when the program ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), self.descriptor)
                self._failed(error)
                return len(data)

    def _failed(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            raise SystemExit(READER_GONE)
        print(f"{self._program}: standard output cannot be written: {error.strerror}", file=sys.stderr)
        raise SystemExit(EXIT_STATE)


class _Errors(_Output):
    """Standard error. Nobody reads it: then the work goes on without a word."""

    descriptor = 2

    def _failed(self, error: OSError) -> None:
        pass


def _text(raw: _Output, before: Any) -> io.TextIOWrapper:
    """Characters that the terminal or the locale lacks are replaced: they are no reason to end."""
    encoding = "utf-8" if before is None else before.encoding
    errors = "backslashreplace" if raw.descriptor == 2 else "replace"
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=raw.descriptor == 2 or raw.isatty()
    )
