"""How many connections each client may hold, and for how long: uvicorn's protocol with bounds that it does not have.

A request must be there as a whole, head and body, within `RECEIVE_S`, and its answer be taken within `ANSWER_S`. A
client that opens more connections than its share loses the oldest that waits for a request, so that whoever has one
finds a place whatever others hold open; one that sends request upon request ahead of the answers is closed. Knows
nothing of what is asked.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from agents.ikev2.model import source_prefix

CONNECTIONS = 64
"""Of all clients: one more is answered 503, unless another that waits can be closed for it."""
EACH = 16
"""Of one client that wait for a request: of an IPv4 address or an IPv6 /64."""
RECEIVE_S, ANSWER_S = 10.0, 60.0
AHEAD = 64 << 10
"""Octets of later requests that a client may send before its answer: uvicorn reads on, and keeps all of them."""


def bounded() -> type[H11Protocol]:
    """The protocol of one server."""
    waiting: dict[Bounded, str] = {}  # the oldest first, and whose it is

    class Bounded(H11Protocol):
        """One connection."""

        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            source = source_prefix(self.client[0]) if self.client else ""
            mine = [each for each, whose in waiting.items() if whose == source]
            if len(mine) >= EACH:
                mine[0].part()
            elif len(self.connections) >= CONNECTIONS and waiting:
                next(iter(waiting)).part()
            waiting[self] = source
            self._until(RECEIVE_S)

        def connection_lost(self, exc: Exception | None) -> None:
            self._settle()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if len(self.conn.trailing_data[0]) > AHEAD:
                self.part()

        def handle_events(self) -> None:
            super().handle_events()
            if self in waiting and self._received():
                self._settle()
                self._until(ANSWER_S)

        def on_response_complete(self) -> None:
            self._settle()
            if not self.transport.is_closing():
                waiting[self] = source_prefix(self.client[0]) if self.client else ""
                self._until(RECEIVE_S)
            super().on_response_complete()

        def part(self) -> None:
            """Close it, whatever has not been sent or taken yet."""
            self._settle()
            # uvicorn counts a connection until it is told that it was lost, which is a turn of the loop later.
            self.connections.discard(self)
            self.transport.abort()

        def _received(self) -> bool:
            return self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)

        def _until(self, seconds: float) -> None:
            self._deadline = self.loop.call_later(seconds, self.part)

        def _settle(self) -> None:
            waiting.pop(self, None)
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Bounded


__all__ = ["AHEAD", "ANSWER_S", "CONNECTIONS", "EACH", "RECEIVE_S", "bounded"]
