"""A token bucket: limits the rate of returning routers, and tells a refused one when to come again.

Knows nothing of what it limits.
"""

from __future__ import annotations

import math


class TokenBucket:
    """`rate` a second over time, `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, float(burst)
        self._tokens, self._at = float(burst), 0.0
        self._promised = 0.0

    def take(self, now: float) -> bool:
        """Whether one may pass at `now` (monotonic seconds)."""
        self._fill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def next_s(self, now: float) -> float:
        """Seconds until one may pass."""
        self._fill(now)
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def wait_s(self, now: float) -> int:
        """Whole seconds after which the router just refused should come back: each refused router gets a later turn."""
        self._fill(now)
        self._promised = max(self._promised, now) + 1.0 / self._rate
        return max(1, math.ceil(self._promised - now))

    def _fill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
