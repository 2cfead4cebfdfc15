"""Reassembly of the fragments of RFC 7383, in bounded memory.

Takes fragments whose ICV is valid; knows nothing of keys.
"""

from __future__ import annotations

from agents.ikev2.errors import MalformedMessage
from agents.ikev2.protect import Opened

_OVERHEAD = 256
"""Octets that a part needs besides its own."""


class _Queue:
    __slots__ = ("octets", "parts", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.parts: dict[int, Opened] = {}
        self.octets = 0


class FragmentBudget:
    """The memory for fragments of all unauthenticated peers together; when it is full, the oldest message is dropped.

    A peer that completes its handshake sends its fragments at once, so a hoarder's message is the oldest.
    """

    def __init__(self, max_octets: int) -> None:
        self._max_octets = max_octets
        self._kept: dict[_Queue, tuple[int, Reassembler, tuple[bool, int]]] = {}
        self.octets = 0

    def grown(self, queue: _Queue, part: Opened, owner: Reassembler, key: tuple[bool, int]) -> None:
        """Count one more part of this message. The message itself is dropped when there is no other."""
        octets = len(part.inner) + _OVERHEAD
        self._kept[queue] = (self._kept[queue][0] if queue in self._kept else 0) + octets, owner, key
        self.octets += octets
        while self.octets > self._max_octets:
            _octets, oldest, oldest_key = next(iter(self._kept.values()))
            oldest.forget(*oldest_key)

    def gone(self, queue: _Queue) -> None:
        """This message is no longer kept."""
        if queue in self._kept:
            self.octets -= self._kept.pop(queue)[0]


class Reassembler:
    """The incomplete messages of one IKE SA: at most `max_messages`, the oldest dropped first."""

    __slots__ = ("_budget", "_max_fragments", "_max_messages", "_max_octets", "_queues")

    def __init__(
        self,
        max_fragments: int,
        budget: FragmentBudget | None = None,
        *,
        max_octets: int = 65535,
        max_messages: int = 4,
    ) -> None:
        self._queues: dict[tuple[bool, int], _Queue] = {}
        self._budget = budget
        self._max_fragments = max_fragments
        self._max_octets = max_octets
        self._max_messages = max_messages

    def add(self, response: bool, message_id: int, part: Opened, *, trusted: bool = False) -> Opened | None:
        """The complete message when its last fragment has arrived (§2.6); MalformedMessage when it is too long.

        `trusted`: the peer is authenticated, and only its own bound applies.
        """
        if part.total > self._max_fragments:
            raise MalformedMessage(f"message of {part.total} fragments")
        key = (response, message_id)
        queue = self._queues.get(key)
        if queue is None or part.total > queue.total:
            # A larger total means that the peer started again with smaller fragments.
            if queue is None and len(self._queues) >= self._max_messages:
                self.forget(*next(iter(self._queues)))
            elif queue is not None:
                self.forget(*key)
            queue = self._queues[key] = _Queue(part.total)
        if part.total < queue.total or part.fragment in queue.parts:
            return None
        if queue.octets + len(part.inner) > self._max_octets:
            self.forget(*key)
            raise MalformedMessage("fragments make too long a message")
        queue.parts[part.fragment] = part
        queue.octets += len(part.inner)
        if len(queue.parts) < queue.total:
            if self._budget is not None and not trusted:
                self._budget.grown(queue, part, self, key)
            return None
        self.forget(*key)
        inner = b"".join(queue.parts[number].inner for number in range(1, queue.total + 1))
        return Opened(queue.parts[1].first, inner)

    def forget(self, response: bool, message_id: int) -> None:
        """Drop the fragments of a message that is no longer wanted."""
        queue = self._queues.pop((response, message_id), None)
        if queue is not None and self._budget is not None:
            self._budget.gone(queue)

    def forget_all(self) -> None:
        """Drop all fragments: the SA is gone."""
        for key in list(self._queues):
            self.forget(*key)
