"""When the routing daemons may start: fail-closed policies stand, and the neighbours who are there have keys.

A routing daemon speaks at once when it starts, and then only after a whole hello interval: a first word that nobody
can read costs that interval. So a boot is held up until every neighbour on a link that runs is keyed. A neighbour that
nothing comes from may be switched off, and is waited for no longer than SILENT_S; one that something came from is there
and far away, and is waited for up to PRESENT_S. Knows nothing of IKE or kernels.
"""

from __future__ import annotations

from enum import Enum

SHORTEST_S = 0.1
"""Links need a moment to come up before it can be said that nobody is there."""
SILENT_S = 1.0
PRESENT_S = 8.0
"""Less than OSPF's usual hello interval of 10 s: to wait longer costs the other links more than the lost word. Whoever
forges a neighbour's first message can hold a boot up for so long."""


class Missing(Enum):
    """Who is not keyed yet."""

    NOBODY = "all are keyed"
    PRESENT = "one at least that something came from"
    SILENT = "only neighbours that nothing came from"

    @classmethod
    def of(cls, *, keyed: bool, present: bool) -> Missing:
        """`keyed`: all are; `present`: something came from one that is not."""
        return cls.NOBODY if keyed else cls.PRESENT if present else cls.SILENT


class Readiness:
    """Says once that it is time."""

    def __init__(self, now: float) -> None:
        self._due = {
            Missing.NOBODY: now + SHORTEST_S,
            Missing.SILENT: now + SILENT_S,
            Missing.PRESENT: now + PRESENT_S,
        }
        self._done = False

    @property
    def waits(self) -> bool:
        """Whether it has not been said yet."""
        return not self._done

    def reached(self, missing: Missing, now: float) -> bool:
        """True the first time that nobody who is there is waited for any more."""
        if self._done or now < self._due[missing]:
            return False
        self._done = True
        return True

    def next_timer(self, missing: Missing) -> float | None:
        """When to look again if nothing else happens."""
        return None if self._done else self._due[missing]
