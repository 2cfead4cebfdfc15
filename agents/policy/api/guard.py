"""What stands before every request: its size and framing, the host it is for, the page it comes from, who asks, and its
headers out. All of that is looked at before the body is read.

Pure ASGI; knows nothing of what is asked, nor how a token is recognised.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from agents.policy.errors import PolicyError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

Known = Callable[[str], Awaitable[Any]]
"""Who bears this Authorization header; None for nobody. PolicyError when that cannot be told now."""

MAX_BODY = 1 << 20
MAX_FORM = 1 << 16
"""Octets of a form of the pages."""
MAX_TARGET = 2048
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class Guard:
    """`hosts`: the names that this server answers to; what is for another one is a trick (DNS rebinding). `known`:
    asked for every path under `private` that is not in `public`; what it gives is `state.token` of the request."""

    def __init__(
        self,
        app: App,
        hosts: Collection[str],
        known: Known,
        *,
        private: str,
        public: Collection[str] = (),
        max_body: int = MAX_BODY,
    ) -> None:
        self._app, self._max_body = app, max_body
        self._known, self._private, self._public = known, private, frozenset(public)
        self._hosts = frozenset(each.lower() for each in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        inside = scope["path"].startswith(self._private)
        # Outside a token or session is looked for when the body is there already.
        most = self._max_body if inside else min(self._max_body, MAX_FORM)
        status, why = self._refusal(scope, most)
        if not status and inside and scope["path"] not in self._public:
            status, why = await self._stranger(scope)
        if status:
            await _refuse(send, status, why)
            return
        body = await self._body(receive, most)
        if body is None:
            await _refuse(send, 413, f"the body is longer than {most} octets")
            return
        await self._app(scope, _replay(body, receive), _with_headers(send))

    async def _stranger(self, scope: Scope) -> tuple[int, str]:
        given = _headers(scope).get(b"authorization", [])
        try:
            token = await self._known(given[0].decode("latin-1")) if len(given) == 1 else None
        except PolicyError:
            return 503, "tokens cannot be read now: the server's log says why"
        if token is None:
            return 401, "a valid bearer token is needed"
        scope.setdefault("state", {})["token"] = token
        return 0, ""

    def _refusal(self, scope: Scope, most: int) -> tuple[int, str]:
        headers = _headers(scope)
        hosts, origins, lengths = (headers.get(name, []) for name in (b"host", b"origin", b"content-length"))
        encodings = headers.get(b"transfer-encoding", [])
        if encodings and (lengths or scope.get("http_version") != "1.1"):
            # RFC 9112 §6.1: another reader on the way may see the body's end elsewhere, and a request in what is left.
            return 400, "a body has a Content-Length or chunks, never both, and chunks not before version 1.1"
        if len(hosts) != 1 or _host(b"//" + hosts[0]) not in self._hosts:
            return 421, "this server does not answer to that name"
        if any(_host(each) not in self._hosts for each in origins):
            return 403, "requests from pages of other origins are not taken"
        if len(scope.get("raw_path", b"")) + len(scope.get("query_string", b"")) > MAX_TARGET:
            return 414, f"the address is longer than {MAX_TARGET} octets"
        if any(not each.isdigit() or int(each[:19]) > most for each in lengths):
            return 413, f"the body is longer than {most} octets"
        return 0, ""

    async def _body(self, receive: Receive, most: int) -> bytes | None:
        """The whole body, before anything is done with it; None when it is too long or cut off."""
        parts, count = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            part = message.get("body", b"")
            count += len(part)
            if count > most:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


def _headers(scope: Scope) -> dict[bytes, list[bytes]]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        values.setdefault(name.lower(), []).append(value)
    return values


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
    """Our headers, wherever the answer does not say otherwise itself: pages do."""

    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", []))
            known = {name.lower() for name, _ in given}
            message = {**message, "headers": [*given, *(each for each in _HEADERS if each[0] not in known)]}
        await send(message)

    return adding


async def _refuse(send: Send, status: int, why: str) -> None:
    """Answer, and part: the body has not been read, and what comes behind it is not believed to be a request."""
    body = json.dumps({"error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    headers.append((b"connection", b"close"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
