"""The lease: how long a router may act without an answer of the DKS, through reboots too.

An answer of the DKS renews it. So does a newer document, which the Policy Server signed at a known time. While the
router runs, the lease is counted in monotonic uptime. The rest is retained, at intervals, less what may pass before it
is retained again. At a boot, the greater of that and the time that has passed by the wall clock is subtracted. So a
clock that is set back prolongs nothing, a clock that is set forward ends the lease early, and each of repeated failures
costs time. Gives Persist effects; knows nothing of what the end of a lease does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from agents.policy import cbor
from agents.policy.errors import PolicyError
from agents.runtime.effects import Persist
from agents.runtime.storage import CorruptRecord, LaterRecord, seal, unseal_any

LEASE = "lease"
_STEM, _FORMAT = "router-keys/lks-lease", 1
_KIND = f"{_STEM}/{_FORMAT}"
_MAX = 1 << 48
WRITE_FRACTION = 0.02
ASK_FRACTION = 0.05
ASK_AT_MOST_S = 3600.0
CLOCKS_DIFFER_S = 300.0
"""How far a router's clock may be behind that of the Policy Server."""


def ask_every_s(seconds: float) -> float:
    """How often a connected router renews a lease of this length, in seconds."""
    return min(ASK_AT_MOST_S, max(1.0, seconds * ASK_FRACTION))


class Lease:
    """One router's lease. Times are monotonic seconds, except `wall`, Unix seconds."""

    def __init__(
        self,
        record: bytes | None,
        *,
        first: bool,
        seconds: float,
        wall: Callable[[], float],
        emit: Callable[[Persist], None],
    ) -> None:
        """From the record of the previous run. Without a record the lease is whole at the `first` start, and over at
        any other; it is also over when the record is damaged. LaterRecord for a record of a later release."""
        self._wall, self._emit = wall, emit
        self._seconds = float(seconds)
        self.doubt = ""
        """The record's error, if any."""
        if record is None:
            self._left = self._seconds if first else 0.0
            self.doubt = "" if first else "it is missing"
        else:
            try:
                self._left = min(left_of(record, wall()), self._seconds)
            except LaterRecord:
                raise
            except (CorruptRecord, PolicyError) as error:
                self._left, self.doubt = 0.0, str(error)
        self.until: float | None = None
        """When it ends; None before `start`."""
        self.over = False
        self._write_at = math.inf
        self._written = 0.0
        self._write(self._left)

    @property
    def _slack(self) -> float:
        return float(max(1, math.ceil(self._seconds * WRITE_FRACTION)))

    def start(self, now: float) -> None:
        """Start counting."""
        self.until = now + self._left
        self._write_at = now + self._slack

    def left(self, now: float) -> float:
        """Seconds."""
        return self._left if self.until is None else max(0.0, self.until - now)

    def renew(self, since: float, seconds: float, now: float) -> bool:
        """The DKS answered a request that was sent at `since`; policy gives a lease this many seconds. True when it had
        been over."""
        self._seconds = float(seconds)
        self.until = max(since + self._seconds, min(self.until or 0.0, now + self._seconds))
        if self.left(now) - self._written > self._slack:
            self._keep(now)
        revived = self.over and self.until > now
        self.over = self.over and not revived
        return revived

    def granted(self, issued_at: int, seconds: float, now: float) -> None:
        """A newer document, signed at the Unix time `issued_at`, is in force: its lease counts from then, if that is
        later than the present end.

        A document that is older than its lease gives none. Nor does a document from the future of our clock: a clock
        that is behind would make every document look fresh.
        """
        age = self._wall() - issued_at
        until = now + seconds - max(0.0, age)
        if age >= -CLOCKS_DIFFER_S and until > max(now, self.until or 0.0):
            self._seconds, self.until, self.over = float(seconds), until, False
            self._keep(now)

    def shorten(self, seconds: float, now: float) -> None:
        """Another policy is in force: no more than its lease is left."""
        if seconds < self.left(now):
            self._seconds = float(seconds)
            self.until = now + seconds
            self._keep(now)

    def tick(self, now: float) -> bool:
        """Do all actions that are due. True when the lease ends now."""
        if self.until is None or self.over:
            return False
        if now >= self.until:
            self.over = True
            self._write_at = math.inf
            self._write(0.0)
            return True
        if now >= self._write_at:
            self._keep(now)
        return False

    def stop(self, now: float) -> None:
        """The router stops in an orderly way: retain the exact rest."""
        if self.until is not None:
            self._write(self.left(now), slack=0.0)

    def next_timer(self) -> float | None:
        """When something is due."""
        if self.until is None or self.over:
            return None
        return min(self.until, self._write_at)

    def _keep(self, now: float) -> None:
        self._write(self.left(now))
        self._write_at = now + self._slack

    def _write(self, left: float, slack: float | None = None) -> None:
        self._written = left
        record = {
            "left_s": int(left),
            "slack_s": int(self._slack if slack is None else slack),
            "wall_s": max(0, min(_MAX, int(self._wall()))),
        }
        # Not binding: an older record ends no later by the wall clock, and no key depends on it.
        self._emit(Persist(LEASE, seal(_KIND, cbor.encode(record)), binding=False))


def left_of(record: bytes, wall_s: float) -> float:
    """The seconds that a start now would find left. CorruptRecord, PolicyError."""
    fields = cbor.decode(unseal_any(_STEM, _FORMAT, record)[1])
    names = ("left_s", "slack_s", "wall_s")
    if not isinstance(fields, dict) or set(fields) != set(names):
        raise CorruptRecord("the retained lease has another form")
    left, slack, written = (fields[name] for name in names)
    for value in (left, slack, written):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX:
            raise CorruptRecord("the retained lease holds a number that is none of seconds")
    assert isinstance(left, int) and isinstance(slack, int) and isinstance(written, int)
    return max(0.0, left - max(float(slack), wall_s - written))
