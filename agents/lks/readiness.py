"""When the routing daemons may start: fail-closed policies stand, and the neighbours who are there have keys.

A routing daemon speaks at once when it starts, and then only after a whole hello interval: a first word that nobody
can read costs that interval. So a boot is held up until every neighbour on a link that runs is keyed, but never
longer than LONGEST_S, since a neighbour may be switched off. Knows nothing of IKE or kernels.
"""

from __future__ import annotations

SHORTEST_S = 0.1
"""Links need a moment to come up before it can be said that nobody is there."""
LONGEST_S = 1.0


class Readiness:
    """Says once that it is time."""

    def __init__(self, now: float) -> None:
        self._earliest, self._latest = now + SHORTEST_S, now + LONGEST_S
        self._done = False

    def reached(self, keyed: bool, now: float) -> bool:
        """True the first time that all neighbours who are there are keyed, or the time is up."""
        if self._done or not (now >= self._latest or (keyed and now >= self._earliest)):
            return False
        self._done = True
        return True

    def next_timer(self, keyed: bool) -> float | None:
        """When to look again if nothing else happens."""
        if self._done:
            return None
        return self._earliest if keyed else self._latest
