"""Putting the fragments of RFC 7383 together, in bounded memory.

Takes fragments whose ICV was found right; knows nothing of keys.
"""

from __future__ import annotations

from agents.ikev2.errors import MalformedMessage
from agents.ikev2.protect import Opened


class _Queue:
    __slots__ = ("octets", "parts", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.parts: dict[int, Opened] = {}
        self.octets = 0


class Reassembler:
    """The unfinished messages of one IKE SA, at most `max_messages` of them, the oldest dropped first."""

    __slots__ = ("_max_fragments", "_max_messages", "_max_octets", "_queues")

    def __init__(self, max_fragments: int, max_octets: int = 65535, max_messages: int = 4) -> None:
        self._queues: dict[tuple[bool, int], _Queue] = {}
        self._max_fragments = max_fragments
        self._max_octets = max_octets
        self._max_messages = max_messages

    def add(self, response: bool, message_id: int, part: Opened) -> Opened | None:
        """The whole message once its last fragment is in (§2.6); MalformedMessage when it is too big."""
        if part.total > self._max_fragments:
            raise MalformedMessage(f"message of {part.total} fragments")
        key = (response, message_id)
        queue = self._queues.get(key)
        if queue is None or part.total > queue.total:
            # A larger total means that the peer began anew with smaller fragments.
            if queue is None and len(self._queues) >= self._max_messages:
                del self._queues[next(iter(self._queues))]
            queue = self._queues[key] = _Queue(part.total)
        if part.total < queue.total or part.fragment in queue.parts:
            return None
        if queue.octets + len(part.inner) > self._max_octets:
            del self._queues[key]
            raise MalformedMessage("fragments make too long a message")
        queue.parts[part.fragment] = part
        queue.octets += len(part.inner)
        if len(queue.parts) < queue.total:
            return None
        del self._queues[key]
        inner = b"".join(queue.parts[number].inner for number in range(1, queue.total + 1))
        return Opened(queue.parts[1].first, inner)

    def forget(self, response: bool, message_id: int) -> None:
        """Drop what is there of a message that is no longer wanted."""
        self._queues.pop((response, message_id), None)
