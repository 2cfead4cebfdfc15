"""When the routing daemons may start: fail-closed policies are in force, and all present neighbours are keyed.

A routing daemon sends a Hello at once when it starts, and the next only after a whole hello interval: a first Hello
that no neighbour can decrypt costs that interval. So a boot waits until every neighbour on a running link is keyed. A
neighbour without any message may be switched off, and is waited for no longer than SILENT_S. A neighbour with a message
is present and far away, and is waited for up to PRESENT_S. Knows nothing of IKE or kernels.
"""

from __future__ import annotations

from enum import Enum

SHORTEST_S = 0.1
"""Links need a moment to come up before a neighbour counts as absent."""
SILENT_S = 1.0
PRESENT_S = 8.0
"""Less than OSPF's usual hello interval of 10 s: a longer wait costs the other links more than a lost Hello. An
attacker that forges a neighbour's first message can delay a boot by this time."""


class Missing(Enum):
    """Which neighbours are not keyed yet."""

    NOBODY = "all are keyed"
    PRESENT = "at least one from which a message came"
    SILENT = "only neighbours without a message"

    @classmethod
    def of(cls, *, keyed: bool, present: bool) -> Missing:
        """`keyed`: all are; `present`: a message came from one that is not."""
        return cls.NOBODY if keyed else cls.PRESENT if present else cls.SILENT


class Readiness:
    """Reports once that the daemons may start."""

    def __init__(self, now: float) -> None:
        self._due = {
            Missing.NOBODY: now + SHORTEST_S,
            Missing.SILENT: now + SILENT_S,
            Missing.PRESENT: now + PRESENT_S,
        }
        self._done = False

    @property
    def waits(self) -> bool:
        """True until it has been reported."""
        return not self._done

    def reached(self, missing: Missing, now: float) -> bool:
        """True the first time that no present neighbour is waited for."""
        if self._done or now < self._due[missing]:
            return False
        self._done = True
        return True

    def next_timer(self, missing: Missing) -> float | None:
        """The time of the next check, without other events."""
        return None if self._done else self._due[missing]
