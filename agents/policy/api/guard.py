"""What stands before every request: its size, the host it is for, the page it comes from, and its headers out.

Pure ASGI; knows nothing of tokens or of what is asked.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 1 << 20
MAX_TARGET = 2048
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class Guard:
    """`hosts`: the names that this server answers to; what is for another one is a trick (DNS rebinding)."""

    def __init__(self, app: App, hosts: Collection[str], max_body: int = MAX_BODY) -> None:
        self._app, self._max_body = app, max_body
        self._hosts = frozenset(each.lower() for each in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        status, why = self._refusal(scope)
        if status:
            await _refuse(send, status, why)
            return
        body = await self._body(receive)
        if body is None:
            await _refuse(send, 413, f"the body is longer than {self._max_body} octets")
            return
        await self._app(scope, _replay(body, receive), _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str]:
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        hosts, origins, lengths = (headers.get(name, []) for name in (b"host", b"origin", b"content-length"))
        if len(hosts) != 1 or _host(b"//" + hosts[0]) not in self._hosts:
            return 421, "this server does not answer to that name"
        if any(_host(each) not in self._hosts for each in origins):
            return 403, "requests from pages of other origins are not taken"
        if len(scope.get("raw_path", b"")) + len(scope.get("query_string", b"")) > MAX_TARGET:
            return 414, f"the address is longer than {MAX_TARGET} octets"
        if any(not each.isdigit() or int(each[:19]) > self._max_body for each in lengths):
            return 413, f"the body is longer than {self._max_body} octets"
        return 0, ""

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body, before anything is done with it; None when it is too long or cut off."""
        parts, count = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            part = message.get("body", b"")
            count += len(part)
            if count > self._max_body:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


def _host(url: bytes) -> str:
    try:
        return (urlsplit(url.decode("ascii")).hostname or "").lower()
    except ValueError:  # UnicodeDecodeError is one
        return ""


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_headers(send: Send) -> Send:
    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
        await send(message)

    return adding


async def _refuse(send: Send, status: int, why: str) -> None:
    body = json.dumps({"error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
