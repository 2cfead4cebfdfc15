"""When a router that can live without the DKS goes to see it: not all at once after a power failure.

The schedule is the signed document's: a first random wait, then longer ones, each with jitter. Where keys
come from the DKS there is nothing to wait for. Knows nothing of messages.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.policy.document import Reconnect

Uniform = Callable[[float, float], float]
EAGER_S = (0.5, 1.5)

LONGEST_HINT_S = 3600
"""So long a DKS may ask a router to stay away: 20,000 routers that come at once wait less."""


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
        """Seconds until the next try, when the DKS asked us to stay away for so long."""
        seconds = min(seconds, max(LONGEST_HINT_S, self._settings.max_s))
        return seconds * (1 + self._uniform(0, self._settings.jitter))

    def succeeded(self) -> None:
        """The DKS was reached: a later failure begins with short waits again."""
        self._wait_s = float(self._settings.first_min_s)

    def _jittered(self, wait_s: float) -> float:
        jitter = self._settings.jitter
        return wait_s * (1 + self._uniform(-jitter, jitter))
