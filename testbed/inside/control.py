"""Answers the host's requests in a running laboratory: status, faults, commands in nodes, the end.

It must not know how the requests travel (`channel`), nor who types them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from testbed.errors import InputError, LabError
from testbed.faults.check import check_step
from testbed.inside.channel import POLL_S, STREAM_POLL_S, Stream, encode, folders, put, take
from testbed.inside.engine import Engine
from testbed.net.names import SHELL_PROMPT
from testbed.net.namespace import Namespace
from testbed.record.plan import Step

WIRES = "wires"


class Control:
    """Serves one laboratory until it is asked to end."""

    def __init__(self, engine: Engine, run_folder: Path, on_down: Callable[[], None]) -> None:
        self._engine, self._on_down = engine, on_down
        self._requests, self._answers, self._streams = folders(run_folder)
        self._commands: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Look for requests, for ever."""
        while True:
            for name, data in take(self._requests, ".json"):
                answer = self._answer(name, data)
                put(self._answers / f"{name}.json", encode(answer))
            await asyncio.sleep(POLL_S)

    def _answer(self, name: str, data: bytes) -> dict[str, Any]:
        try:
            request = json.loads(data)
            verb = request.pop("verb")
            handler = getattr(self, f"_{verb}", None)
            if handler is None:
                raise InputError(f"there is no request {verb!r}")
            return {"ok": True, **handler(name, **request)}
        except LabError as error:
            return {"ok": False, "exit_code": error.exit_code, "lines": error.lines()}
        except ValidationError as error:
            first = error.errors()[0]
            return {"ok": False, "exit_code": 2, "lines": [str(first["msg"])]}
        except (ValueError, TypeError, OSError) as error:
            return {"ok": False, "exit_code": 3, "lines": [str(error)]}

    def _status(self, _name: str) -> dict[str, Any]:
        lab = self._engine.lab
        return {
            "topology": lab.topology.name,
            "keying": lab.keying.name,
            "nodes": {name: node.powered for name, node in lab.nodes.items()},
            "interfaces": lab.wires.devices,
            "segments": {
                segment.name: [port.label for port in segment.ports] for segment in lab.wires.segments.values()
            },
        }

    def _fault(self, _name: str, action: str, args: dict[str, Any]) -> dict[str, Any]:
        step = Step.model_validate({"at_s": 0, "action": action, "args": args})
        check_step(self._engine.plan, step, action)
        self._engine.faults.do(step)
        return {}

    def _down(self, _name: str) -> dict[str, Any]:
        self._on_down()
        return {}

    def _run(
        self,
        name: str,
        node: str,
        argv: list[str],
        tty: bool = False,
        rows: int = 24,
        columns: int = 80,
    ) -> dict[str, Any]:
        lab = self._engine.lab
        if node == WIRES:
            namespace = lab.wires.namespace
        else:
            namespace = lab.node(node).net_namespace
            if not lab.node(node).powered:
                raise InputError(f"{node} has no power", next_command=f"lab fault power_on nodes={node}")
            if argv[0] == "vtysh":
                argv = lab.router(node).frr.vtysh(*argv[1:])
        folder = self._streams / name
        folder.mkdir(exist_ok=True)
        start = _start_in_terminal if tty else _start_with_pipes
        process, source, sink = start(namespace, argv, rows, columns)
        task = asyncio.get_running_loop().create_task(_carry(process, source, sink, folder))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)
        return {"stream": name}


def _start_in_terminal(
    namespace: Namespace, argv: list[str], rows: int, columns: int
) -> tuple[subprocess.Popen[bytes], int, int]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with namespace.enter():
        process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal,
            env={**os.environ, "TERM": os.environ.get("TERM", "xterm"), "PS1": SHELL_PROMPT},
        )  # fmt: skip
    os.close(slave)
    return process, master, os.dup(master)


def _start_with_pipes(
    namespace: Namespace, argv: list[str], _rows: int, _columns: int
) -> tuple[subprocess.Popen[bytes], int, int]:
    reader, writer = os.pipe()
    input_reader, input_writer = os.pipe()
    with namespace.enter():
        process = subprocess.Popen(argv, stdin=input_reader, stdout=writer, stderr=writer, start_new_session=True)
    os.close(writer)
    os.close(input_reader)
    return process, reader, input_writer


async def _carry(process: subprocess.Popen[bytes], source: int, sink: int, folder: Path) -> None:
    """Carry a command's input and output until it has ended and all was said."""
    incoming, outgoing = Stream(folder, "in"), Stream(folder, "out")
    os.set_blocking(source, False)
    ended = False
    while not ended:
        data = b""
        try:
            while part := os.read(source, 65536):
                data += part
            ended = True  # a pipe's end
        except BlockingIOError:
            ended = process.poll() is not None and not data
        except OSError:  # a terminal's end
            ended = True
        if data:
            outgoing.write(data)
        if (folder / "stop").exists():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGHUP)
            (folder / "stop").unlink()
        if typed := incoming.read():
            with contextlib.suppress(OSError):
                os.write(sink, typed)
        if not ended:
            await asyncio.sleep(STREAM_POLL_S)
    os.close(source)
    os.close(sink)
    while process.poll() is None:
        await asyncio.sleep(STREAM_POLL_S)
    outgoing.write(b"")
    put(folder / "end", str(process.returncode).encode())
