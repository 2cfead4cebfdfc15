"""Probe packets: a numbered UDP stream per flow, and what of it was lost.

The sender notes when each number was sent; the receiver ticks numbers off. Losses are told at
the end, as runs of missing numbers with the times they were sent at: the length of an outage
in the data plane does not depend on when the receiver looks. It must not know of routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from array import array
from collections.abc import Callable

from testbed.net.namespace import Namespace
from testbed.record.writer import Recorder

_PAYLOAD = struct.Struct("!IQQ")  # flow, number, sent at (monotonic ns)
_FIRST_PORT = 40000
_DRAIN_S = 0.25
_IP_FREEBIND = 15
_SO_RCVBUFFORCE = 33


class ProbeFlow:
    """One flow, from its first packet to the account of its losses."""

    def __init__(
        self,
        number: int,
        name: str,
        sender: tuple[Namespace, str],
        receiver: tuple[Namespace, str],
        rate_pps: float,
        sending: Callable[[], bool],
    ) -> None:
        """`sending()` tells whether the source has power; without, no number is used up."""
        self.name = name
        self._number = number
        self._interval_s = 1.0 / rate_pps
        self._sending = sending
        self._destination = (receiver[1], _FIRST_PORT + number)
        with sender[0].enter():
            self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._out.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        self._out.bind((sender[1], _FIRST_PORT + number))
        self._out.setblocking(False)
        with receiver[0].enter():
            self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
        self._in.bind(("0.0.0.0", _FIRST_PORT + number))
        self._in.setblocking(False)
        self._sent_at = array("q")
        self._heard = bytearray()

    async def send(self, start: float, stop: float) -> None:
        """Send from `start` to `stop` (seconds of the event loop's clock)."""
        loop = asyncio.get_running_loop()
        due, drain = start, start + _DRAIN_S
        while due < stop:
            now = loop.time()
            if due > now:
                await asyncio.sleep(due - now)
            if self._sending():
                self._send_one()
            due += self._interval_s
            if due > drain:
                self.drain()
                drain = due + _DRAIN_S

    def _send_one(self) -> None:
        now, number = time.monotonic_ns(), len(self._sent_at)
        self._sent_at.append(now)
        self._heard.append(0)
        # No route, no address: the packet counts as sent and lost.
        with contextlib.suppress(OSError):
            self._out.sendto(_PAYLOAD.pack(self._number, number, now), self._destination)

    def drain(self) -> None:
        """Tick off what has arrived."""
        while True:
            try:
                data = self._in.recv(64)
            except BlockingIOError:
                return
            if len(data) == _PAYLOAD.size:
                flow, number, _ = _PAYLOAD.unpack(data)
                if flow == self._number and number < len(self._heard):
                    self._heard[number] = 1

    def report(self, record: Recorder) -> None:
        """Write the losses and the totals."""
        self.drain()
        first: int | None = None
        for number in range(len(self._heard) + 1):
            lost = number < len(self._heard) and not self._heard[number]
            if lost and first is None:
                first = number
            elif not lost and first is not None:
                record(
                    "lab",
                    "probe",
                    "loss",
                    t=self._sent_at[first],
                    flow=self.name,
                    first_seq=first,
                    last_seq=number - 1,
                    sent_first_ns=self._sent_at[first],
                    sent_last_ns=self._sent_at[number - 1],
                )
                first = None
        record("lab", "probe", "flow", flow=self.name, sent=len(self._heard), received=sum(self._heard))

    def close(self) -> None:
        """Give the sockets back."""
        self._out.close()
        self._in.close()
