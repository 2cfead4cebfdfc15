"""The reporting of dropped datagrams: one by one while they are few, then as counts.

Anyone on a link can send octets that are dropped. Without a bound an outsider would fill the event log, and with it the
disk. Knows nothing of why a datagram was dropped.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Protocol

EACH = 8
"""The number of drops of one reason that are reported one by one in a window."""
WINDOW_S = 60.0
REASONS = 16
"""The number of reasons that are counted separately in a window: an outsider can cause many."""
_NUMBER = re.compile(r"\d+")
"""Reasons quote wrong numbers, which an outsider chooses: they do not make separate reasons."""
OTHERS = "other reasons"


class Tell(Protocol):
    """Context.event."""

    def __call__(self, kind: str, **fields: object) -> None: ...


class Drops:
    """The drops of one place where datagrams come in, an interface or all pairs. Times in seconds of the core's
    clock."""

    def __init__(self, tell: Tell, interface: str) -> None:
        self._tell, self._interface = tell, interface
        self._counts: Counter[str] = Counter()
        self._until: float | None = None

    def saw(self, peer: str, reason: str, now: float) -> None:
        """A datagram from this address was dropped."""
        self.tick(now)
        if self._until is None:
            self._until = now + WINDOW_S
        kind = _NUMBER.sub("N", reason)
        if kind not in self._counts and len(self._counts) >= REASONS:
            kind = reason = OTHERS
        self._counts[kind] += 1
        if self._counts[kind] <= EACH:
            self._tell("dropped", interface=self._interface, peer=peer, reason=reason)

    def tick(self, now: float) -> None:
        """At the end of a window, report how many were suppressed."""
        if self._until is None or now < self._until:
            return
        for reason, count in self._counts.items():
            if count > EACH:
                self._tell("dropped", interface=self._interface, peer=None, reason=reason, suppressed=count - EACH)
        self._counts.clear()
        self._until = None

    def next_timer(self) -> float | None:
        """The time of the next report; None when everything has been reported."""
        if not self._counts:
            return None
        return self._until if any(count > EACH for count in self._counts.values()) else None


__all__ = ["EACH", "OTHERS", "REASONS", "WINDOW_S", "Drops"]
