"""Serves one page on the loopback: a word of patience until it is made, and then the page. Knows nothing of runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from testbed.errors import EnvironmentFailure

HOST = "127.0.0.1"
_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)


class PageServer:
    """Answers GET / until it is closed. Other paths, methods and names of hosts are refused."""

    def __init__(self, waiting: str, port: int = 0) -> None:
        """`waiting`: HTML that is shown until `page` is set; it must load itself again. EnvironmentFailure."""
        self.page = waiting
        try:
            self._server = ThreadingHTTPServer((HOST, port), self._handler(lambda: self.page))
        except OSError as error:
            raise EnvironmentFailure(f"{HOST}:{port}: {error.strerror}", next_command="another --port") from error
        self.address = f"http://{HOST}:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()

    @staticmethod
    def _handler(page: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.headers.get("Host", "").rpartition(":")[0]
                if self.path != "/" or name not in (HOST, "localhost"):
                    self.send_error(404)
                    return
                body = page().encode()
                self.send_response(200)
                for header in (*_HEADERS, ("Content-Length", str(len(body)))):
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        return Handler
