"""Clients that hold connections open, send slowly or take no answer: they keep nobody out, and fill no log."""

from __future__ import annotations

import asyncio
import http.client
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import uvicorn

from agents.policy.api import connections
from agents.policy.api.connections import CONNECTIONS, EACH, bounded
from agents.policy.api.guard import Guard
from agents.policy.api.quiet import Quiet
from agents.runtime.drops import EACH as EACH_LINE
from agents.runtime.drops import WINDOW_S

LONG = 32 << 20
MANY = 16 << 20
HALF_A_BODY = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body, then answers; with very much at /long."""
    while (await receive()).get("more_body", False):
        pass
    body = bytes(LONG) if scope["path"] == "/long" else b"yes"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class Served:
    """A server of `app`, or of `application`, on the loopback."""

    def __init__(self, application: Any = app) -> None:
        config = uvicorn.Config(
            application, port=0, http=bounded(), log_level="critical", lifespan="off", limit_concurrency=CONNECTIONS,
            timeout_keep_alive=60,
        )  # fmt: skip
        self.server = uvicorn.Server(config)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(10)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    async def _run(self) -> None:
        serving = asyncio.create_task(self.server.serve())
        while not self.server.started:
            await asyncio.sleep(0)
        self._ready.set()
        await serving

    def connect(self, first: bytes = b"") -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self.port))
        opened.sendall(first)
        opened.settimeout(20)
        return opened

    def ask(self, path: str = "/") -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join()


@pytest.fixture
def served() -> Iterator[Served]:
    started = Served()
    yield started
    started.stop()


def ended(held: socket.socket) -> bool:
    """Whether the server parts from this one, once all that it sent has been read."""
    try:
        while held.recv(1 << 20):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize("first", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", HALF_A_BODY])
def test_connections_that_others_hold_open_keep_nobody_out(served: Served, first: bytes) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(served.connect(first)) for _ in range(2 * CONNECTIONS)]
        assert served.ask() == 200
        assert all(ended(each) for each in held[: CONNECTIONS + EACH]), "the oldest go first"


@pytest.mark.parametrize("first", [b"", b"GET / HT", HALF_A_BODY, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_request_must_be_there_in_time_the_next_one_of_a_connection_too(
    served: Served, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(connections, "RECEIVE_S", 0.2)
    with served.connect(first) as held:
        assert ended(held)


def test_an_answer_must_be_taken_in_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_S", 0.2)
    with served.connect(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n"):
        while not served.server.server_state.connections:
            pass
        while served.server.server_state.connections:  # it reads nothing
            threading.Event().wait(0.01)
    assert served.ask("/long") == 200, "who takes it gets it"


def test_who_sends_requests_without_end_ahead_of_the_answers_is_parted_from_and_nothing_piles_up(
    served: Served,
) -> None:
    sent, asked = 0, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2000
    with served.connect() as held, pytest.raises(ConnectionError):
        while sent < MANY:  # without a bound all of it is taken, and kept
            sent += held.send(asked)
    assert sent < MANY
    assert served.ask() == 200


def test_a_few_requests_ahead_of_the_answers_are_answered(served: Served) -> None:
    with served.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20) as held:
        answers = b""
        while answers.count(b"yes") < 20:
            more = held.recv(1 << 16)
            assert more, answers
            answers += more


def test_requests_one_after_the_other_over_one_connection_are_answered(served: Served) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)) as connection:
        for _ in range(3):
            connection.request("POST", "/", body=b"x" * 100_000)
            assert connection.getresponse().read() == b"yes"


CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"0\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n"
FRAMINGS = {
    "both lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n" + CHUNKED,
    "both, the other way round": b"POST / HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"Content-Length: 5\r\n",
    "both, of no octets": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + CHUNKED,
    "chunks before HTTP/1.1": b"POST / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n" + CHUNKED,
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
    "a length that is none": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n",
    "an unknown encoding": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n",
    "two encodings": b"POST / HTTP/1.1\r\nHost: x\r\n" + 2 * CHUNKED,
}


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
def test_a_body_whose_end_two_readers_could_see_in_two_places_is_refused_and_the_connection_closed(
    framing: bytes,
) -> None:
    async def nobody(_authorization: str) -> None:
        return None

    guarded = Served(Guard(app, ["x"], nobody, private="/v1/"))
    try:
        with closing(guarded.connect(framing + b"\r\n" + SMUGGLED)) as opened:
            answer = b""
            while part := opened.recv(1 << 16):
                answer += part
        assert answer.count(b"HTTP/1.1 ") == 1 and answer.split()[1] in (b"400", b"501")
        assert b"connection: close" in answer.lower()
    finally:
        guarded.stop()


def test_a_log_has_few_lines_of_a_kind_and_says_how_many_more_there_were(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    log = logging.getLogger("test.quiet")
    log.setLevel(logging.INFO)
    quiet = Quiet(log, lambda: now[0])
    log.addFilter(quiet)
    try:
        with caplog.at_level(logging.INFO, "test.quiet"):
            for number in range(1000):
                log.info("%s is not allowed", number)
            log.info("another matter")
            log.error("an error of our own")
            now[0] = WINDOW_S
            log.info("%s is not allowed", 1000)
    finally:
        log.removeFilter(quiet)
    lines = [each.getMessage() for each in caplog.records]
    assert lines[:EACH_LINE] == [f"{number} is not allowed" for number in range(EACH_LINE)]
    rest = [
        "another matter",
        "an error of our own",
        f"{1000 - EACH_LINE} more: … is not allowed",
        "1000 is not allowed",
    ]
    assert lines[EACH_LINE:] == rest
