"""Numbered UDP packets: who sends them, who ticks off what arrived, and the runs of numbers that never did.

The sender notes when each number was sent. Losses are told with those times: the length of an outage in the data plane
does not depend on when a receiver looks. Knows nothing of addresses, groups or routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

from testbed.probes.many import Many, Out

_PAYLOAD = struct.Struct("!IQQ")  # stream, number, sent at (monotonic ns)
_DRAIN_PACKETS = 1000
"""After so many packets receivers are read: their buffers hold some twenty times as many."""
_MOST_COPIES = 255
_ON_ITS_WAY_NS = 1_000_000_000
"""Of a run that is watched: a packet that was sent so long ago and has not arrived is lost."""
_SO_RCVBUFFORCE = 33
_ROOM = Many(_PAYLOAD.size + 1, count=512)
"""For all receivers in turn; what fills more than a payload is none of ours."""


class Sender:
    """Sends the packets of a few streams that have one source and one rate, all of a moment by one system call."""

    def __init__(
        self,
        opened: socket.socket,
        destinations: Sequence[tuple[str, int]],
        numbers: Sequence[int],
        rate_pps: float,
        sending: Callable[[], bool],
    ) -> None:
        """`opened` is bound, several `destinations` are of IPv4; `numbers` are the streams', in every packet of theirs.
        `sending()` tells whether the source has power; without, no packet's number is used up."""
        self._socket, self._destinations, self._numbers = opened, destinations, numbers
        self._out = Out(destinations, _PAYLOAD.size) if len(destinations) > 1 else None
        self._interval_s, self._sending = 1.0 / rate_pps, sending
        self._socket.setblocking(False)
        self.sent_at = array("q")

    async def send(self, start: float, stop: float, receivers: Sequence[Receiver]) -> None:
        """Send from `start` to `stop` (seconds of the event loop's clock), and let the receivers read now and then."""
        loop = asyncio.get_running_loop()
        due = start
        while due < stop:
            now = loop.time()
            if due > now:
                await asyncio.sleep(due - now)
            if self._sending():
                self._send_all()
            due += self._interval_s
            if self.sent_at and len(self.sent_at) % _DRAIN_PACKETS == 0:
                for receiver in receivers:
                    receiver.drain(len(self.sent_at))

    def _send_all(self) -> None:
        now, number = time.monotonic_ns(), len(self.sent_at)
        self.sent_at.append(now)
        packets = [_PAYLOAD.pack(each, number, now) for each in self._numbers]
        # No route, no address: the packet counts as sent and lost.
        if self._out is not None:
            self._out.send(self._socket, packets)
            return
        with contextlib.suppress(OSError):
            self._socket.sendto(packets[0], self._destinations[0])

    def losses(self, receiver: Receiver, since: int = 0, until: int | None = None) -> Iterator[dict[str, int]]:
        """The rows of numbers that this receiver never heard, as the record has them, with the moments (ns) at which
        the first and the last were sent. A row is cut where the source was without power, so in each the numbers are
        evenly spaced in time. Of the numbers from `since` on that are below `until`."""
        most_ns = 2 * round(self._interval_s * 1e9)
        for first, last in receiver.lost(since, until):
            start = first
            for number in range(first, last + 1):
                if number == last or self.sent_at[number + 1] - self.sent_at[number] > most_ns:
                    times = {"sent_first_ns": self.sent_at[start], "sent_last_ns": self.sent_at[number]}
                    yield {"first_seq": start, "last_seq": number, **times}
                    start = number + 1

    def losses_so_far(self, receiver: Receiver) -> Iterator[dict[str, int]]:
        """The rows that have grown since the last call, from their first number on: a later word on a row takes the
        place of an earlier one. A packet that may be on its way is not lost yet."""
        receiver.drain(len(self.sent_at))
        until = bisect_right(self.sent_at, time.monotonic_ns() - _ON_ITS_WAY_NS)
        reported, row = receiver.reported, None
        for row in self.losses(receiver, receiver.row, until):
            if row["last_seq"] >= reported:
                yield row
        receiver.reported = until
        receiver.row = row["first_seq"] if row is not None and row["last_seq"] == until - 1 else until

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


class Receiver:
    """Ticks off what one socket hears of a stream."""

    def __init__(self, opened: socket.socket, number: int) -> None:
        """`number` is the stream's."""
        self._socket, self._number = opened, number
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
        self._copies = bytearray()
        self.reported = self.row = 0
        """Of a run that is watched: how many numbers were told of, and with which the row begins that may grow."""

    def drain(self, sent: int) -> None:
        """Tick off what has arrived of the first `sent` numbers; others are none of ours."""
        self._copies.extend(bytes(sent - len(self._copies)))
        for data, _, _ in _ROOM.all(self._socket):
            if len(data) != _PAYLOAD.size:
                continue
            stream, number, _ = _PAYLOAD.unpack(data)
            if stream == self._number and number < sent:
                self._copies[number] = min(self._copies[number] + 1, _MOST_COPIES)

    @property
    def received(self) -> int:
        """How many numbers arrived."""
        return len(self._copies) - self._copies.count(0)

    @property
    def duplicated(self) -> int:
        """How many packets came beyond the first of their number."""
        return sum(self._copies) - self.received

    def lost(self, since: int = 0, until: int | None = None) -> Iterator[tuple[int, int]]:
        """The first and the last number of each run that never arrived, of those from `since` on that are below
        `until`."""
        first: int | None = None
        end = len(self._copies) if until is None else until
        for number in range(since, end + 1):
            missing = number < end and not self._copies[number]
            if missing and first is None:
                first = number
            elif not missing and first is not None:
                yield first, number - 1
                first = None

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
