"""Measured round-trip times of a peer, and the retransmission times that follow from them.

RFC 7296 §2.1 leaves the times of retransmission to the implementation. These are RFC 6298's smoothed round trip and its
variation: one estimate for each peer, kept from one IKE SA to the next. By Karn's rule, an answer to a request that was
sent more than once is no sample, but the next request waits as long as that answer took. Only answers under the keys of
an authenticated SA count, and no estimate exceeds `LONGEST_S`. Knows times only: nothing of messages, keys or SAs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

LONGEST_S = 30.0
"""The longest round trip that is believed, in seconds: 10 s each way, the limit of `testbed.topology`, and half of that
again for jitter and queues. A peer that answers late on purpose stretches our timers to this and no further."""
HANDSHAKE_S = 60.0
"""How long a handshake's request is retransmitted when nothing is known of the path: two of the longest round trips. A
responder keeps a half-open handshake for as long."""
HANDSHAKE_REPEATS = 8
"""The least number of transmissions of a handshake's request within HANDSHAKE_S, however long the path: at a loss of 30
% each way, all of them are lost in one of 200 handshakes."""
HINT_FACTOR = 1.5
"""The multiple of the time of a handshake's first answer that is added to the usual patience, until the path is
measured."""
MOST_PEERS = 20_000
"""The number of peers whose estimates one party keeps; beyond it, all are dropped."""
_GRANULARITY_S = 0.1
"""RFC 6298's clock granularity G: no timer is closer to a steady round trip than this."""


@dataclass(frozen=True, slots=True)
class Retransmission:
    """When an unanswered request is retransmitted: after `first_s`, then each time `factor` longer up to `cap_s`; given
    up `tries` transmissions after the first, when the last wait is over.

    This holds for a round trip below `first_s`. A longer measured one changes it: `RoundTrip.timing`. `handshake_s`:
    the least time for which a handshake's request is retransmitted while the path is unknown.
    """

    first_s: float = 1.0
    factor: float = 1.8
    cap_s: float = 30.0
    tries: int = 6
    handshake_s: float = HANDSHAKE_S

    def delay(self, tries_done: int) -> float:
        """Seconds to wait after transmission number `tries_done` (0: the first)."""
        return float(min(self.cap_s, self.first_s * self.factor ** min(tries_done, 64)))

    @property
    def patience_s(self) -> float:
        """Seconds from the first transmission until a request is given up."""
        return _patience_s(self)


@lru_cache(maxsize=64)
def _patience_s(usual: Retransmission) -> float:
    return sum(usual.delay(number) for number in range(usual.tries + 1))


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one request now. `first_s`: the first wait, when that is longer than usual; `patience_s`: seconds
    after the first transmission at which it is given up."""

    usual: Retransmission
    first_s: float
    patience_s: float

    def delay(self, tries_done: int) -> float:
        """Seconds to wait after transmission number `tries_done` (0: the first). Once an answer is late, further
        transmissions spoil no sample, and one each quarter of a round trip gets through a lossy path sooner."""
        usual_s = self.usual.delay(tries_done)
        return max(usual_s, self.first_s if tries_done == 0 else self.first_s / 4)


class RoundTrip:
    """The path to one peer and back."""

    __slots__ = ("_held_s", "_measured_at", "_srtt_s", "_var_s")

    def __init__(self) -> None:
        self._srtt_s: float | None = None
        self._var_s = 0.0
        self._held_s = 0.0  # Karn: the time of the last request that was retransmitted, until there is a sample again
        self._measured_at = float("-inf")

    @property
    def timeout_s(self) -> float | None:
        """The longest time that an answer takes, in seconds; None without a measurement."""
        if self._srtt_s is None:
            return self._held_s or None
        return max(self._held_s, min(LONGEST_S, self._srtt_s + max(_GRANULARITY_S, 4 * self._var_s)))

    def answered(self, sent_at: Sequence[float], now: float) -> None:
        """An authentic answer has come to a request that was sent at these times (seconds, the first one first)."""
        took_s = min(LONGEST_S, max(0.0, now - sent_at[0]))
        if len(sent_at) == 1:
            self._sample(took_s)
            self._held_s, self._measured_at = 0.0, now
        elif not self._explained(sent_at, now):
            self._held_s = took_s

    def _sample(self, took_s: float) -> None:
        """RFC 6298 §2.2 and §2.3."""
        if self._srtt_s is None:
            self._srtt_s, self._var_s = took_s, took_s / 2
        else:
            self._var_s += (abs(self._srtt_s - took_s) - self._var_s) / 4
            self._srtt_s += (took_s - self._srtt_s) / 8

    def _explained(self, sent_at: Sequence[float], now: float) -> bool:
        """True if the path is as long as before and a packet was lost: the next request need not wait longer."""
        if self._srtt_s is None:
            return False
        usual_s = self._srtt_s + max(_GRANULARITY_S, 4 * self._var_s)
        return any(now - each <= usual_s for each in sent_at)

    def unanswered(self, since: float) -> None:
        """Requests since `sent` had no answer: the path may have changed, so the estimate is dropped. A later
        measurement stands: another IKE SA with this peer works."""
        if self._measured_at < since:
            self._srtt_s, self._var_s, self._held_s = None, 0.0, 0.0

    def timing(self, usual: Retransmission, hint_s: float) -> Timing:
        """The times of a request over an established SA. `hint_s`: the longest time that the handshake's first answer
        can have taken."""
        timeout_s = self.timeout_s
        if timeout_s is None:
            return Timing(usual, 0.0, _hinted_s(usual, hint_s))
        return Timing(usual, timeout_s, _scaled_s(usual, timeout_s))

    def handshake(self, usual: Retransmission, hint_s: float | None) -> Timing:
        """The times of a handshake's request. Over an unknown path it is retransmitted as often as over a short one,
        but for long enough, since a superfluous request costs little; never longer than a responder keeps its half.

        `hint_s`: the time of the answer to the first message, which is not authenticated. A forger of that answer has
        spoiled the handshake anyway; the forgery can make it end sooner, but not later.
        """
        timeout_s = self.timeout_s
        if timeout_s is None or self._srtt_s is None:
            longest_s = max(usual.patience_s, usual.handshake_s)
            return Timing(usual, 0.0, longest_s if hint_s is None else _hinted_s(usual, hint_s))
        patience_s = max(usual.patience_s, min(_scaled_s(usual, timeout_s), HANDSHAKE_S))
        return Timing(usual, min(timeout_s, HANDSHAKE_S / HANDSHAKE_REPEATS), patience_s)


def _scaled_s(usual: Retransmission, timeout_s: float) -> float:
    """The usual patience for answers that take this long: room for as many of them as there are usual transmissions."""
    return usual.patience_s if timeout_s <= usual.first_s else max(usual.patience_s, (usual.tries + 1) * timeout_s)


def _hinted_s(usual: Retransmission, hint_s: float) -> float:
    return max(usual.patience_s, min(usual.handshake_s, usual.patience_s + HINT_FACTOR * hint_s))
