"""Serves one page on the loopback: a word of patience until it is made, then the page, and what comes to it afterwards.

Knows nothing of runs.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from testbed.errors import EnvironmentFailure

HOST = "127.0.0.1"
LISTENERS = 16
"""Pages that are told at the same time what comes; more are refused."""
_SILENCE_S = 5.0
"""After so long without news a listener that is gone is noticed."""
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)


class Stream:
    """Messages for pages, in their order: server-sent events (WHATWG HTML, section 9.2), numbered from 1."""

    def __init__(self) -> None:
        self._messages: list[tuple[str, str]] = []
        self._change = threading.Condition()
        self._closed = False

    @property
    def count(self) -> int:
        """How many there are."""
        with self._change:
            return len(self._messages)

    def put(self, data: Any, kind: str = "message") -> None:
        """One more, for everybody."""
        with self._change:
            self._messages.append((kind, json.dumps(data, separators=(",", ":"), default=str)))
            self._change.notify_all()

    def close(self) -> None:
        """No more come."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def after(self, number: int) -> bytes | None:
        """What a listener gets who has so many: at once, or as soon as there is more. None: it is over."""
        with self._change:
            self._change.wait_for(lambda: self._closed or len(self._messages) > number, _SILENCE_S)
            fresh = self._messages[number:]
            if not fresh and self._closed:
                return None
        lines = (f"id: {number + n}\nevent: {kind}\ndata: {data}\n\n" for n, (kind, data) in enumerate(fresh, 1))
        return "".join(lines).encode() or b":\n\n"


class PageServer:
    """Answers GET / and /events until it is closed. Other paths, methods and names of hosts are refused."""

    def __init__(self, waiting: str, port: int = 0) -> None:
        """`waiting`: HTML that is shown until `page` is set; it must load itself again. EnvironmentFailure."""
        self.page: str | Callable[[], str] = waiting
        self.stream = Stream()
        try:
            self._server = ThreadingHTTPServer((HOST, port), self._handler())
        except OSError as error:
            raise EnvironmentFailure(
                error.strerror or str(error), where=f"{HOST}:{port}",
                allowed="a port that no other program has", next_command="the same command with --port 0",
            ) from error  # fmt: skip
        self._server.daemon_threads = True
        self._listeners = threading.Semaphore(LISTENERS)
        self.address = f"http://{HOST}:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self.stream.close()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name, path = self.headers.get("Host", "").rpartition(":")[0], urlsplit(self.path)
                if name not in (HOST, "localhost") or path.path not in ("/", "/events"):
                    self.send_error(404)
                elif path.path == "/":
                    body = (server.page if isinstance(server.page, str) else server.page()).encode()
                    self._begin("text/html; charset=utf-8", ("Content-Length", str(len(body))))
                    self.wfile.write(body)
                elif server._listeners.acquire(blocking=False):
                    try:
                        self._tell(parse_qs(path.query))
                    finally:
                        server._listeners.release()
                else:
                    self.send_error(503)

            def _tell(self, query: dict[str, list[str]]) -> None:
                given = self.headers.get("Last-Event-ID") or query.get("after", ["0"])[0]
                number = int(given) if given.isascii() and given.isdigit() and len(given) < 12 else 0
                self._begin("text/event-stream")
                try:
                    while (octets := server.stream.after(number)) is not None:
                        self.wfile.write(octets)
                        number += octets.count(b"\n\n") - octets.startswith(b":")
                except OSError:
                    return  # the page was closed

            def _begin(self, kind: str, *more: tuple[str, str]) -> None:
                self.send_response(200)
                for header in (("Content-Type", kind), *_HEADERS, *more):
                    self.send_header(*header)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        return Handler
