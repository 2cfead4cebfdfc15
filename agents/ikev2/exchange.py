"""Reliability of requests and responses (RFC 7296 §2.1 to §2.3): windows and retransmission.

Knows Message IDs and octets; the meaning of a request belongs to its Task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from agents.ikev2.codec.header import Header
from agents.ikev2.codec.payloads import Payload
from agents.ikev2.model import PeerAddress
from agents.ikev2.protect import Opened
from agents.ikev2.request import FailureReason
from agents.ikev2.round_trip import Timing

if TYPE_CHECKING:
    from agents.ikev2.sa import IkeSa

MAX_MESSAGE_ID = 0xFFFFFFFF
MAX_TIMES = 64
"""The most transmissions of one request whose times are kept: further ones say nothing about the path."""
_ROUNDING_S = 1e-6


class Task:
    """One request that we want to make, and the handling of its answer."""

    exchange: int = 0
    exclusive: bool = False  # no other request may be outstanding beside it

    def payloads(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Called when the request is about to be sent; None when it is no longer wanted."""
        raise NotImplementedError

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        """The response has arrived. A MalformedMessage raised here closes the SA."""
        raise NotImplementedError

    def retransmitted(self, datagrams: list[bytes]) -> list[bytes]:
        """The octets of a retransmission: the same as in the first transmission."""
        return datagrams

    def failed(self, sa: IkeSa, reason: FailureReason, now: float) -> None:
        """No response will come: the SA is gone, or the request could not be made."""

    def received(self, sa: IkeSa, header: Header, opened: Opened) -> None:
        """The authentic response, before it is parsed (IntAuth of RFC 9242)."""

    def superseded(self, sa: IkeSa, now: float) -> None:
        """The peer deletes this SA while the request has no answer."""


@dataclass(slots=True)
class Outstanding:
    """An outstanding request."""

    task: Task
    datagrams: list[bytes] = field(repr=False)
    deadline: float
    began: float  # its patience counts from this time
    sent_at: list[float]
    waits: int = 1  # since the backoff began

    def again(self, now: float) -> None:
        """Record one more transmission."""
        if len(self.sent_at) < MAX_TIMES:
            self.sent_at.append(now)


class RequestWindow:
    """Our requests: queued and outstanding."""

    __slots__ = ("next_id", "outstanding", "queue", "size")

    def __init__(self, next_id: int = 0) -> None:
        self.queue: list[Task] = []  # short: a deque takes 600 octets of each SA
        self.outstanding: dict[int, Outstanding] = {}
        self.next_id = next_id
        self.size = 1

    def next_task(self) -> Task | None:
        """The task that may be sent now, removed from the queue."""
        if not self.queue or len(self.outstanding) >= self.size or self.next_id > MAX_MESSAGE_ID:
            return None
        # The window is [oldest unanswered, oldest unanswered + size), so a gap holds it back.
        if self.outstanding and self.next_id - min(self.outstanding) >= self.size:
            return None
        if self.outstanding and (self.queue[0].exclusive or any(o.task.exclusive for o in self.outstanding.values())):
            return None
        return self.queue.pop(0)

    @property
    def exhausted(self) -> bool:
        """True if no Message ID is left except the one for a Delete (§2.2)."""
        return self.next_id >= MAX_MESSAGE_ID

    def sent(self, message_id: int, task: Task, datagrams: list[bytes], now: float, timing: Timing) -> None:
        self.outstanding[message_id] = Outstanding(task, datagrams, now + timing.delay(0), now, [now])

    def deadline(self) -> float | None:
        if not self.outstanding:
            return None
        return min(item.deadline for item in self.outstanding.values())

    def due(self, now: float, timing: Timing) -> tuple[list[bytes], bool]:
        """The datagrams to retransmit now, and whether a request has been given up."""
        again: list[bytes] = []
        for item in self.outstanding.values():
            if item.deadline > now:
                continue
            ends_at = item.began + timing.patience_s
            if now >= ends_at - _ROUNDING_S:
                return [], True
            item.deadline = min(now + timing.delay(item.waits), ends_at)
            item.waits += 1
            item.again(now)
            again += item.task.retransmitted(item.datagrams)
        return again, False

    def poke(self, now: float, timing: Timing, *, anew: bool) -> list[bytes]:
        """All outstanding requests, to retransmit at once; the backoff restarts. `anew`: the patience restarts too."""
        again: list[bytes] = []
        for item in self.outstanding.values():
            if anew:
                item.began = now
            item.waits, item.deadline = 1, min(now + timing.delay(0), item.began + timing.patience_s)
            item.again(now)
            again += item.task.retransmitted(item.datagrams)
        return again


class Arrival(Enum):
    """The class of a request by its Message ID."""

    NEW = "new"
    SEEN = "seen before"
    OUTSIDE = "outside of the window"


RETRANSMIT_S = 0.05
"""The limit on how often an answer is sent again, to the address of the request, and to all others together. A genuine
retransmission waits longer; a forger that sends copies gets no more than this from us."""


@dataclass(slots=True)
class _Seen:
    """An authenticated request. `begins`: digest of the datagram that began it, which retransmissions have too."""

    peer: PeerAddress
    begins: bytes
    answer: list[bytes] = field(default_factory=list, repr=False)
    retransmitted_at: dict[bool, float] = field(default_factory=dict)


class ResponseWindow:
    """The peer's requests: those seen, and the answers that it may ask for again."""

    __slots__ = ("_begun", "_lowest_new", "_seen", "size")

    def __init__(self, next_id: int = 0, size: int = 1) -> None:
        self.size = size
        self._lowest_new = next_id
        self._begun: dict[int, bytes] = {}
        self._seen: dict[int, _Seen] = {}

    @property
    def exhausted(self) -> bool:
        """True if the peer has no Message ID left."""
        return self._lowest_new > MAX_MESSAGE_ID

    def arrival(self, message_id: int) -> Arrival:
        if message_id in self._seen:
            return Arrival.SEEN
        if self._lowest_new <= message_id < self._lowest_new + self.size:
            return Arrival.NEW
        return Arrival.OUTSIDE

    def answer_is_known(self, message_id: int) -> bool:
        """True if the peer has our answer to this request, as its later requests show (§2.3)."""
        return max(self._seen, default=0) >= message_id + self.size

    def begins(self, message_id: int, data: bytes) -> None:
        """This authentic datagram is a new request, or its first fragment."""
        self._begun[message_id] = hashlib.sha256(data).digest()

    def accept(self, message_id: int, peer: PeerAddress) -> None:
        """A complete, authenticated request is about to be answered, to the address that it came from (§2.11)."""
        self._seen[message_id] = _Seen(peer, self._begun.pop(message_id, b""))
        while self._lowest_new in self._seen:
            self._lowest_new += 1
        for old in [i for i in self._seen if i < self._lowest_new - self.size]:
            del self._seen[old]

    def answered(self, message_id: int, datagrams: list[bytes]) -> PeerAddress | None:
        """Store the datagrams that answer the request; the address to send them to, None when there is none."""
        seen = self._seen.get(message_id)
        if seen is None:
            return None
        seen.answer = datagrams
        return seen.peer

    def retransmit(self, message_id: int, data: bytes, peer: PeerAddress, now: float) -> list[bytes]:
        """The stored answer to send again now, to a datagram that equals, octet for octet, one that began an earlier
        request.

        The datagram may come from another address than the first. Such an address gets no more octets than it sent.
        """
        seen = self._seen.get(message_id)
        if seen is None or not seen.answer or hashlib.sha256(data).digest() != seen.begins:
            return []
        same = peer == seen.peer
        if not same and sum(map(len, seen.answer)) > len(data):
            return []
        if now - seen.retransmitted_at.get(same, float("-inf")) < RETRANSMIT_S:
            return []
        seen.retransmitted_at[same] = now
        return seen.answer
