"""The generations of a group's keys in the kernel at a moment: sent with, received, and being replaced.

RFC 9838 §4.4.3: a new generation is received before it is sent with (activation delay), and an old one is received for
some time after (deactivation delay). Knows times and keys; nothing of messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from agents.gikev2 import DataSa, GroupKeys
from agents.ipsec.protection import GroupSa
from agents.policy.names import GroupId


def earliest(times: Iterable[float | None]) -> float | None:
    """The earliest of some points in time, without those that are not set."""
    first: float | None = None
    for time in times:
        if time is not None and (first is None or time < first):
            first = time
    return first


MOST_GENERATIONS = 8
"""The most generations of one group in the kernel at once, beside one that waits. A speaker that rekeys faster loses
the oldest. It is below the number of odd generations that SPIs distinguish, so that one is free
(`Context.next_generation`)."""


@dataclass(slots=True)
class _Retiring:
    keys: GroupKeys
    until: float
    expires_at: float = float("inf")


class Sending:
    """The outbound side of one own group: one generation in use, at most one that waits for its turn."""

    def __init__(self, group: GroupId, interface: str) -> None:
        self.group, self._interface = group, interface
        self.active: GroupKeys | None = None
        self.waiting: GroupKeys | None = None
        self._activate_at: float | None = None
        self._retiring: list[_Retiring] = []

    def begin(self, keys: GroupKeys) -> None:
        """Send with this generation from now on; all others are gone (no receiver had them, or all must stop)."""
        self.active, self.waiting, self._activate_at, self._retiring = keys, None, None, []

    def prepare(self, keys: GroupKeys, activate_at: float) -> None:
        """The next generation: it is in the kernel, and sent with at `activate_at` or when `activate` is called."""
        self.waiting, self._activate_at = keys, activate_at

    def activate(self, now: float) -> bool:
        """Send with the waiting generation. False when none waits."""
        if self.waiting is None:
            return False
        if self.active is not None:
            self._retiring.append(_Retiring(self.active, now + self.waiting.dtd_s))
            del self._retiring[: -(MOST_GENERATIONS - 1)]
        self.active, self.waiting, self._activate_at = self.waiting, None, None
        return True

    def stop(self) -> None:
        """Stop sending: no generation is left."""
        self.active, self.waiting, self._activate_at, self._retiring = None, None, None, []

    def tick(self, now: float) -> bool:
        """Do all actions that are due; True when the kernel must be updated."""
        kept = [each for each in self._retiring if each.until > now]
        changed = len(kept) != len(self._retiring)
        self._retiring = kept
        if self._activate_at is not None and self._activate_at <= now:
            changed = self.activate(now) or changed
        return changed

    def next_timer(self) -> float | None:
        """When something is due."""
        if not self._retiring:
            return self._activate_at
        return earliest([self._activate_at, *(each.until for each in self._retiring)])

    def held(self) -> Iterator[int]:
        """The generations in the kernel, whose SPIs are in use."""
        for keys in (self.active, self.waiting, *(each.keys for each in self._retiring)):
            if keys is not None:
                yield keys.generation

    def sas(self, ends: Callable[[int], float]) -> Iterator[GroupSa]:
        """The content that the kernel must have. `ends`: when a generation must no longer be sent with."""
        for keys, active in ((self.active, True), (self.waiting, False)):
            if keys is not None:
                until = ends(keys.generation)
                yield from keys.group_sas(self._interface, outbound=True, active=active, until=until)
        for each in self._retiring:
            yield from each.keys.group_sas(self._interface, outbound=True, active=False, until=each.until)

    def floors(self, keys: GroupKeys, sequence: Callable[[DataSa], int]) -> GroupKeys:
        """`keys` with the sequence numbers that have been used, if any have."""
        return keys.with_floors(sequence) if keys is self.active else keys


class Hearing:
    """The inbound side of one group: the newest generation, and older ones until they end."""

    def __init__(self, group: GroupId, interface: str) -> None:
        self.group, self.interface = group, interface
        self.current: GroupKeys | None = None
        self.expires_at: float | None = None
        self._retiring: list[_Retiring] = []

    def replace(self, keys: GroupKeys, now: float) -> None:
        """A registration: earlier knowledge of the group is void (RFC 9838 §2.3.3)."""
        self._retiring = []
        self._set(keys, now)

    def succeed(self, keys: GroupKeys, now: float) -> None:
        """A registration at a key server that is not the speaker: the speaker may send with the older generation until
        it has registered itself, so the older one is received as long as it is valid."""
        if self.current is not None and self.current.generation != keys.generation and self.expires_at is not None:
            self._retire(self.expires_at)
        self._set(keys, now)

    def follow(self, keys: GroupKeys, now: float) -> None:
        """A rekey: the older generation is received until the deactivation delay is over."""
        if self.current is not None and self.current.generation != keys.generation:
            # The speaker switches within the activation delay, and the deactivation delay counts from there. Until then
            # it may send with any older generation: the current one may never have been sent with.
            until = now + keys.atd_s + keys.dtd_s
            for each in self._retiring:
                each.until = max(each.until, min(until, each.expires_at))
            self._retire(until)
        self._set(keys, now)

    def _retire(self, until: float) -> None:
        assert self.current is not None
        expires_at = float("inf") if self.expires_at is None else self.expires_at
        self._retiring.append(_Retiring(self.current, min(until, expires_at), expires_at))
        del self._retiring[: -(MOST_GENERATIONS - 1)]

    def _set(self, keys: GroupKeys, now: float) -> None:
        self.current = keys
        # A kernel holds one SA of an SPI. A generation that lost its SA to this one would come back when this one goes,
        # and be accepted again from its first packet on.
        spis = {sa.spi for sa in keys.sas}
        self._retiring = [each for each in self._retiring if not any(sa.spi in spis for sa in each.keys.sas)]
        lifetimes = [sa.lifetime_s for sa in keys.sas if sa.lifetime_s is not None]
        self.expires_at = now + min(lifetimes) + keys.dtd_s if lifetimes else None

    def delete(self, spis: frozenset[int], everything: bool) -> bool:
        """Give up generations that hold one of these SPIs. True when the current one is among them."""

        def named(keys: GroupKeys) -> bool:
            return everything or any(sa.spi in spis for sa in keys.sas)

        self._retiring = [each for each in self._retiring if not named(each.keys)]
        if self.current is None or not named(self.current):
            return False
        self.stop()
        return True

    def stop(self) -> None:
        """Receive nothing any more."""
        self.current, self.expires_at, self._retiring = None, None, []

    def tick(self, now: float) -> bool:
        """Do all actions that are due; True when the kernel must be updated."""
        kept = [each for each in self._retiring if each.until > now]
        changed = len(kept) != len(self._retiring)
        self._retiring = kept
        if self.expires_at is not None and self.expires_at <= now:
            self.stop()
            changed = True
        return changed

    def next_timer(self) -> float | None:
        """When something is due."""
        if not self._retiring:
            return self.expires_at
        return earliest([self.expires_at, *(each.until for each in self._retiring)])

    def sas(self) -> Iterator[GroupSa]:
        """The content that the kernel must have."""
        if self.current is not None:
            until = float("inf") if self.expires_at is None else self.expires_at
            yield from self.current.group_sas(self.interface, outbound=False, until=until)
        for each in self._retiring:
            yield from each.keys.group_sas(self.interface, outbound=False, until=each.until)
