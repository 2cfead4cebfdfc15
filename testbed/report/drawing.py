"""Draws figures in processes of their own, as they are asked for, while guests still run and while others are drawn.

The processes step back for whatever else wants the processor, and end with this one. Knows nothing of what is drawn.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from queue import SimpleQueue
from threading import Thread
from typing import IO, Any

from testbed.errors import EnvironmentFailure, InputError, LabError, parts
from testbed.record.flaws import said
from testbed.report.style import FORMATS, written_as
from testbed.setup import children
from testbed.setup.paths import PROJECT

MOST = 8
"""So many processes draw at a time: each has matplotlib in memory, some 80 MiB."""
BEHIND = 10
"""By so many steps of niceness what draws stands behind what plays."""

_Asked = tuple["Future[Any]", str, tuple[Any, ...], Sequence[str]]


class Drawing:
    """Where figures are asked for. Without processes they are drawn at once, in this one."""

    def __init__(self, formats: Sequence[str] = FORMATS[:1], processes: int = 0) -> None:
        """`formats`: of those figures that are meant to be printed."""
        self._formats, self._processes = tuple(formats), min(processes, MOST)
        self._once: dict[Hashable, Future[Any]] = {}
        self._waiting: SimpleQueue[_Asked | None] = SimpleQueue()
        self._threads: list[Thread] = []

    def ask(self, what: str, *args: Any, once: Hashable = None, printed: bool = True) -> Future[Any]:
        """What "module:function" returns. What is asked for `once`, under this name, is not drawn again.

        Its failure is an OSError, or else a LabError.
        """
        if once is not None and once in self._once:
            return self._once[once]
        made: Future[Any] = Future()
        if once is not None:
            self._once[once] = made
        formats = self._formats if printed else FORMATS[:1]
        if not self._processes:
            _settle(made, _done(what, args, formats))
            return made
        self._waiting.put((made, what, args, formats))
        if len(self._threads) < self._processes:
            # Processes end with the thread that starts them, so each has its own.
            self._threads.append(Thread(target=self._serve, daemon=True))
            self._threads[-1].start()
        return made

    def here(self) -> Any:
        """A context in which figures that this process draws are written in the formats that were asked for."""
        return written_as(self._formats)

    def close(self) -> None:
        """End the processes when all is drawn that was asked for."""
        for _ in self._threads:
            self._waiting.put(None)
        for each in self._threads:
            each.join()

    def _serve(self) -> None:
        with suppress(KeyboardInterrupt), ExitStack() as stack:  # which `children` raises when all is to end
            child: subprocess.Popen[bytes] | None = None
            while (asked := self._waiting.get()) is not None:
                made, *words = asked
                try:
                    if child is None:
                        child = stack.enter_context(_started())
                    _settle(made, _answer(child, words))
                except (KeyboardInterrupt, EOFError, OSError, pickle.UnpicklingError):
                    child = None  # whatever is left of it ends with the thread; the next figure gets another
                    made.set_exception(EnvironmentFailure("the process that draws figures was ended"))


@contextmanager
def drawing(formats: Sequence[str], processes: int) -> Iterator[Drawing]:
    """Figures that are asked for within are drawn when the block is left."""
    made = Drawing(formats, processes)
    try:
        yield made
    finally:
        made.close()


def _started() -> Any:
    command = [sys.executable, "-m", "testbed.report.drawing"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    # In our own folder, which paths of results may begin at.
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    return children.started(command, outlasts=True, env={**os.environ, "PYTHONPATH": path}, **pipes)


def _answer(child: subprocess.Popen[bytes], words: Sequence[Any]) -> Any:
    assert child.stdin is not None and child.stdout is not None
    pickle.dump(tuple(words), child.stdin)
    child.stdin.flush()
    return pickle.load(child.stdout)


def _settle(made: Future[Any], answer: tuple[Any, Any]) -> None:
    """What came of it: (what was returned, None), or (None, the words of an error)."""
    drawn, failed = answer
    if failed is None:
        made.set_result(drawn)
    elif isinstance(failed, OSError):
        made.set_exception(failed)
    else:
        problem, where, allowed, code = failed
        error = InputError(problem, where=where, allowed=allowed)
        error.exit_code = code
        made.set_exception(error)


def _done(what: str, args: tuple[Any, ...], formats: Sequence[str]) -> tuple[Any, Any]:
    module, _, name = what.partition(":")
    try:
        with written_as(formats):
            return getattr(import_module(module), name)(*args), None
    except OSError as error:
        return None, OSError(error.errno, error.strerror, error.filename)
    except LabError as error:
        first = parts(error)[0] if isinstance(error, InputError) else error
        return None, (first.problem, None if first.where is None else str(first.where), first.allowed, first.exit_code)
    except Exception as error:  # a record whose events are not what they should be may raise anything anywhere
        return None, (said(error), None, None, InputError.exit_code)


def main() -> None:
    """Draw what is asked for on standard input, until its end."""
    os.nice(BEHIND)
    answers: IO[bytes] = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while True:
        try:
            what, args, formats = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_done(what, args, formats), answers)
        answers.flush()


if __name__ == "__main__":
    main()
