"""The count of what was judged, and what is raised when it does not hold. Knows no invariant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Violated(AssertionError):
    """An invariant does not hold. `invariant`: which one."""

    def __init__(self, invariant: str, t: float, what: str) -> None:
        super().__init__(f"{invariant} at {t:.3f} s: {what}")
        self.invariant = invariant


class Verdict:
    """`checked`: how often each invariant was looked at."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.checked: Counter[str] = Counter()

    def hold(self, invariant: str, holds: bool, what: object) -> None:
        """It holds, or Violated with `what` was seen."""
        self.checked[invariant] += 1
        if not holds:
            raise Violated(invariant, self._now(), str(what))
