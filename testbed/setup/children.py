"""The processes that this one has started: they end with it, and can all be ended at once.

Worker threads wait for their processes and never see Ctrl-C; the main thread calls `end_all`, and every wait returns.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LAUNCH = Path(__file__).with_name("launch.py")

PATIENCE_S = 3.0

_running: dict[int, tuple[subprocess.Popen[Any], signal.Signals | None, bool, bool]] = {}
_lock = threading.Lock()
_ended, _work_ended = threading.Event(), threading.Event()


@contextmanager
def started(
    argv: Sequence[str | Path],
    *,
    on_end: signal.Signals | None = signal.SIGTERM,
    own_group: bool = True,
    outlasts: bool = False,
    **options: Any,
) -> Iterator[subprocess.Popen[Any]]:
    """Start a program; it gets `on_end` when this thread or process ends before it (None: it must not be cut short).

    `own_group` keeps the terminal's Ctrl-C from it, and lets all of its processes be ended together.
    `outlasts`: it goes on when the work is ended (`stoppable`). Nothing of it runs any more when the block is left.
    Raises KeyboardInterrupt after `end_all`, and when work is ended.
    """
    launcher = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), str(int(on_end or 0))]
    with _lock:
        if _over(outlasts):
            raise KeyboardInterrupt
        child = subprocess.Popen([*launcher, *(str(word) for word in argv)], start_new_session=own_group, **options)
        _running[child.pid] = child, on_end, own_group, outlasts
    try:
        if _over(outlasts):  # since then: nobody has told this one
            raise KeyboardInterrupt
        yield child
        if _over(outlasts):
            raise KeyboardInterrupt
    except Exception as error:
        if _over(outlasts):  # a failure that is only our own doing
            raise KeyboardInterrupt from error
        raise
    finally:
        _finish(child, on_end, own_group)
        with _lock:
            del _running[child.pid]


def end_all() -> None:
    """End every process started here, and let none start any more. Safe in a signal handler of the main thread."""
    _ended.set()
    _end(all_of_them=True)


@contextmanager
def stoppable(stopping: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C within ends the work, which raises KeyboardInterrupt where it is waited for, and lets what
    outlasts it go on; `stopping` is called then. The second one is as anywhere else. For the main thread."""
    before = signal.getsignal(signal.SIGINT)

    def stop(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        _work_ended.set()
        _end(all_of_them=False)
        stopping()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _work_ended.clear()


def stopped() -> bool:
    """Whether work was ended, and the program goes on."""
    return _work_ended.is_set() and not _ended.is_set()


def _over(outlasts: bool) -> bool:
    return _ended.is_set() or (_work_ended.is_set() and not outlasts)


def _end(*, all_of_them: bool) -> None:
    for child, on_end, own_group, outlasts in list(_running.values()):
        if on_end is not None and (all_of_them or not outlasts):
            _send(child, on_end, own_group)


def _finish(child: subprocess.Popen[Any], on_end: signal.Signals | None, own_group: bool) -> None:
    """Ask, wait a little, then insist; a program that left processes behind in its group loses them too."""
    if on_end is not None:
        if child.poll() is None:
            _send(child, on_end, own_group)
            with suppress(subprocess.TimeoutExpired):
                child.wait(PATIENCE_S)
        _send(child, signal.SIGKILL, own_group)
    child.wait()


def _send(child: subprocess.Popen[Any], number: signal.Signals, own_group: bool) -> None:
    try:
        if own_group:
            os.killpg(child.pid, number)
        elif child.returncode is None:
            os.kill(child.pid, number)
    except ProcessLookupError:
        pass
