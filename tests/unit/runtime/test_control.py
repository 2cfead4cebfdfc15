"""The administrator's socket of a running agent."""

from __future__ import annotations

import asyncio
import json
import socket
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.runtime import control
from agents.runtime.control import MAX_BACKLOG, MAX_CLIENTS, MAX_REQUEST, CommandRefused, ControlServer, ask, follow


def answer(words: Sequence[str]) -> Mapping[str, Any]:
    if words == ["status"]:
        return {"router": "r1"}
    raise CommandRefused(f"unknown: {' '.join(words)}")


def served(path: Path, job: Any) -> Any:
    """What `job`, run in a thread of its own, gives while a server stands at `path`; the server is passed on."""

    async def run() -> Any:
        server = ControlServer(path, answer)
        await server.start()
        try:
            return await asyncio.to_thread(job)
        finally:
            server.stop()

    return asyncio.run(run())


def test_a_command_is_answered_and_the_socket_goes_with_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "lks.sock"
    assert served(path, lambda: ask(path, "status")) == {"router": "r1"}
    assert not path.exists()


def test_only_the_owner_may_open_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "lks.sock"
    assert served(path, lambda: path.stat().st_mode & 0o777) == 0o600


def test_a_refusal_says_why(tmp_path: Path) -> None:
    path = tmp_path / "lks.sock"
    with pytest.raises(CommandRefused, match="unknown: dance"):
        served(path, lambda: ask(path, "dance"))


@pytest.mark.parametrize("request_", [b"\n", b"[]\n", b'{"command": 5}\n', b"\xff\n", b"x" * 10_000 + b"\n", b""])
def test_nonsense_gets_no_answer_and_does_no_harm(tmp_path: Path, request_: bytes) -> None:
    path = tmp_path / "lks.sock"

    def nonsense() -> tuple[bytes, dict[str, Any]]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(path))
            try:
                connection.sendall(request_)
                connection.shutdown(socket.SHUT_WR)
                got = connection.recv(100)
            except OSError:
                got = b""
        return got, ask(path, "status")

    assert served(path, nonsense) == (b"", {"router": "r1"})


def test_the_socket_of_an_agent_that_was_killed_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "lks.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    assert served(path, lambda: ask(path, "status")) == {"router": "r1"}


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lks.sock"
    path.write_text("mine")
    with pytest.raises(OSError):
        served(path, lambda: None)
    assert path.read_text() == "mine"


def test_without_an_agent_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        ask(tmp_path / "nobody.sock", "status")


def test_subscribers_get_every_event_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "lks.sock"

    async def run() -> list[dict[str, Any]]:
        server = ControlServer(path, answer)
        await server.start()
        reading = asyncio.create_task(asyncio.to_thread(lambda: list(follow(path, "events"))))
        while not server._subscribers:
            await asyncio.sleep(0)
        server.publish(json.dumps({"kind": "keyed"}))
        server.publish(json.dumps({"kind": "ready"}))
        server.stop()
        return await reading

    assert asyncio.run(run()) == [{"kind": "keyed"}, {"kind": "ready"}]


def test_who_holds_connections_open_keeps_nobody_out_for_longer_than_the_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lks.sock"
    monkeypatch.setattr(control, "PATIENCE_S", 0.2)

    def hold() -> Mapping[str, Any]:
        held = []
        for _ in range(MAX_CLIENTS):
            held.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            held[-1].connect(str(path))
        try:
            with pytest.raises(CommandRefused, match="try again"):
                ask(path, "status")
            for each in held:
                assert each.recv(1) == b"", "who says nothing is cut off"
            return ask(path, "status")
        finally:
            for each in held:
                each.close()

    assert served(path, hold) == {"router": "r1"}


def test_what_a_subscriber_says_is_kept_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "lks.sock"

    async def run() -> None:
        server = ControlServer(path, answer)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"command": "events"}\n')
        for _ in range(64):  # more than the streams' buffers of both sides hold
            writer.write(bytes(MAX_REQUEST))
            await writer.drain()
        server.publish('{"kind": "ready"}')
        assert json.loads(await reader.readline()) == {"kind": "ready"}
        writer.close()
        server.stop()

    tracemalloc.start()
    asyncio.run(asyncio.wait_for(run(), 60))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * MAX_REQUEST


def test_a_subscriber_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lks.sock"

    async def run() -> bool:
        server = ControlServer(path, answer)
        await server.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lazy:
            lazy.connect(str(path))
            lazy.sendall(b'{"command": "events"}\n')
            while not server._subscribers:
                await asyncio.sleep(0)
            for _count in range(2 * MAX_BACKLOG // 1000):
                server.publish("x" * 1000)
            cut = not server._subscribers
        server.stop()
        return cut

    assert asyncio.run(run())
