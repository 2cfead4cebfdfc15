"""The fault boundary of a core: an exception in one datagram, timer, event or command ends that one, and nothing else.

Expected errors have types of their own and are caught where they belong. An exception that reaches this boundary is a
fault of ours, or a store that refuses. It is recorded with its cause and counted, and the caller undoes what was begun.
A timer that raises pauses, or it would be due again at once. Knows nothing of what it guards.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from agents.runtime.control import CommandRefused

T = TypeVar("T")
PAUSE_S = 1.0
EACH = 8
"""The number of faults of one place that are reported one by one; after that, one of each such number."""


class Tell(Protocol):
    """Records an event."""

    def __call__(self, kind: str, **fields: object) -> None: ...


class Boundary:
    """The boundary of one core. `tell`: records faults, as `fault`."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._counts: Counter[str] = Counter()
        self._paused: dict[str, float] = {}
        self.count = 0
        """Faults since the start."""

    def run(self, what: str, job: Callable[[], T]) -> T | None:
        """The job; None when it raised."""
        try:
            return job()
        except Exception as error:
            self.fault(what, error)
            return None

    def command(self, job: Callable[[], T]) -> T:
        """An administrator's command; CommandRefused also for a fault of ours."""
        try:
            return job()
        except CommandRefused:
            raise
        except Exception as error:
            self.fault("command", error)
            raise CommandRefused(f"it failed, and nothing else did: {type(error).__name__}: {error}") from error

    def fault(self, what: str, cause: BaseException) -> None:
        """Put this on record."""
        self.count += 1
        self._counts[what] += 1
        count = self._counts[what]
        if count <= EACH or count % (EACH * EACH) == 0:
            frames = traceback.extract_tb(cause.__traceback__)
            at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
            self._tell("fault", what=what, cause=f"{type(cause).__name__}: {cause}"[:200], at=at, count=count)

    def timer(self, what: object, job: Callable[[], T], now: float) -> T | None:
        """A due job, unless it raised less than PAUSE_S ago. `what`: its text names the job."""
        if self._paused:
            if now < self._paused.get(str(what), now):
                return None
            self._paused.pop(str(what), None)
        try:
            return job()
        except Exception as error:
            self.fault(str(what), error)
            self._paused[str(what)] = now + PAUSE_S
            return None

    def due(self, what: object, when: float | None) -> float | None:
        """When a job that is due then can run."""
        return when if when is None or not self._paused else max(when, self._paused.get(str(what), when))
