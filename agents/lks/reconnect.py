"""The schedule of a router's visits to the DKS: after a power failure not all routers come at once.

The signed document has the schedule: a first random wait, then longer ones, each with jitter. A router whose keys come
from the DKS does not wait. Knows nothing of messages.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.policy.document import Reconnect

Uniform = Callable[[float, float], float]
EAGER_S = (0.5, 1.5)

LONGEST_HINT_S = 3600
"""The longest time for which a DKS may ask a router to stay away: 20,000 routers that come at once need less."""


class Schedule:
    """Waits before contacts. `eager`: at once, and again soon after each failure."""

    def __init__(self, settings: Reconnect, uniform: Uniform, *, eager: bool) -> None:
        self._settings, self._uniform, self._eager = settings, uniform, eager
        self._wait_s = 0.0

    def first(self) -> float:
        """Seconds from the start to the first contact."""
        if self._eager:
            return 0.0
        self._wait_s = self._uniform(self._settings.first_min_s, self._settings.first_max_s)
        return self._wait_s

    def failed(self) -> float:
        """Seconds until the next try, after a contact that did not succeed or was lost."""
        if self._eager:
            return self._uniform(*EAGER_S)
        self._wait_s = min(self._settings.max_s, max(1.0, self._wait_s) * self._settings.factor)
        return self._jittered(self._wait_s)

    def hinted(self, seconds: int) -> float:
        """Seconds until the next try, when the DKS asked us to stay away for this time."""
        seconds = min(seconds, max(LONGEST_HINT_S, self._settings.max_s))
        return seconds * (1 + self._uniform(0, self._settings.jitter))

    def succeeded(self) -> None:
        """The DKS was reached: after a later failure, waits are short again."""
        self._wait_s = float(self._settings.first_min_s)

    def _jittered(self, wait_s: float) -> float:
        jitter = self._settings.jitter
        return wait_s * (1 + self._uniform(-jitter, jitter))
