"""`/metrics` and `/healthz` over HTTP, for Prometheus and health checks. On the loopback by default.

Bounded in clients, octets and time. A thread makes the page, at most once a second, so no request blocks the loop.
Answers nothing else and takes no input. Knows nothing of what is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from agents.runtime.control import CommandRefused

MAX_CLIENTS = 8
MAX_HEAD = 8192
"""Octets of a request with its headers."""
PATIENCE_S = 5.0
FRESH_S = 1.0
"""Seconds for which one page serves all clients."""
TEXT = "text/plain; version=0.0.4; charset=utf-8"

Page = Callable[[], Awaitable[str]]
Ailments = Callable[[], Awaitable[list[str]]]


class MetricsServer:
    """`page`: the metrics; `ailing`: the present problems of the agent, empty if there are none. Both may raise
    CommandRefused."""

    def __init__(self, address: str, port: int, page: Page, ailing: Ailments) -> None:
        self._address, self._port, self._page, self._ailing = address, port, page, ailing
        self._server: asyncio.Server | None = None
        self._clients = 0
        self._made: tuple[float, str] | None = None
        self._making = asyncio.Lock()

    async def start(self) -> int:
        """Listen; the port. OSError when it is taken."""
        self._server = await asyncio.start_server(self._serve, self._address, self._port, limit=MAX_HEAD)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            with contextlib.suppress(TimeoutError, OSError, asyncio.LimitOverrunError, asyncio.IncompleteReadError):
                if self._clients > MAX_CLIENTS:
                    writer.write(
                        _answer(
                            HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_CLIENTS} other clients are connected; try again\n"
                        )
                    )
                else:
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
                    writer.write(await self._answered(head))
                await asyncio.wait_for(writer.drain(), PATIENCE_S)
        finally:
            self._clients -= 1
            writer.close()

    async def _answered(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _answer(HTTPStatus.METHOD_NOT_ALLOWED, "only GET\n")
        try:
            if path == b"/metrics":
                return _answer(HTTPStatus.OK, await self._fresh(), body=method == b"GET")
            if path == b"/healthz":
                wrong = await self._ailing()
                status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
                return _answer(status, "\n".join(wrong or ["ok"]) + "\n", body=method == b"GET")
        except CommandRefused as refusal:
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{refusal}\n")
        return _answer(HTTPStatus.NOT_FOUND, "/metrics and /healthz\n")

    async def _fresh(self) -> str:
        async with self._making:
            if self._made is None or time.monotonic() - self._made[0] > FRESH_S:
                self._made = (time.monotonic(), await self._page())
            return self._made[1]


def _answer(status: HTTPStatus, text: str, *, body: bool = True) -> bytes:
    octets = text.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {TEXT}\r\nContent-Length: {len(octets)}\r\n"
        "Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    return head.encode() + (octets if body else b"")
