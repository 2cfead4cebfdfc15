"""Answers the host's requests in a running laboratory: status, faults, commands in nodes, the end.

It must not know how the requests travel (`channel`), nor who types them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from testbed.attach.channel import POLL_S, encode, folders, put, take
from testbed.errors import InputError
from testbed.faults.check import check_step
from testbed.faults.steps import PolicyStep, make
from testbed.inside.answer import answered
from testbed.inside.carry import carry, in_terminal, with_pipes
from testbed.inside.engine import Engine
from testbed.net.names import SHELL_PROMPT

WIRES = "wires"


class Control:
    """Serves one laboratory until it is asked to end."""

    def __init__(self, engine: Engine, run_folder: Path, on_down: Callable[[], None]) -> None:
        self._engine, self._on_down = engine, on_down
        self._requests, self._answers, self._streams = folders(run_folder)
        self._commands: set[asyncio.Task[int]] = set()

    async def serve(self) -> None:
        """Look for requests, for ever."""
        while True:
            for name, data in take(self._requests, ".json"):
                put(self._answers / f"{name}.json", encode(answered(partial(self._handle, name, data))))
            await asyncio.sleep(POLL_S)

    def _handle(self, name: str, data: bytes) -> dict[str, Any]:
        request = json.loads(data)
        verb = request.pop("verb")
        handler = getattr(self, f"_{verb}", None)
        if handler is None:
            raise InputError(f"there is no request {verb!r}")
        return dict(handler(name, **request))

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
        step = make(action, args)
        check_step(step, self._engine.lab.topology)
        faults = self._engine.faults
        answer: dict[str, Any] = {"nothing": faults.do(step)}
        return {**answer, "deploy": dict(faults.deployed)} if isinstance(step, PolicyStep) else answer

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
        words = {"PS1": SHELL_PROMPT}
        if node == WIRES:
            namespace = lab.wires.namespace
        else:
            words |= lab.node(node).shell_words()
            namespace = lab.node(node).net_namespace
            if not lab.node(node).powered:
                raise InputError(f"{node} has no power", next_command=f"lab fault power_on nodes={node}")
            if argv[0] == "vtysh":
                argv = lab.router(node).frr.vtysh(*argv[1:])
        folder = self._streams / name
        folder.mkdir(exist_ok=True)
        try:
            command = in_terminal(namespace, argv, rows, columns, words) if tty else with_pipes(argv, namespace, words)
        except OSError as error:
            raise InputError(f"cannot be started in {node}: {error.strerror}", where=argv[0]) from None
        task = asyncio.get_running_loop().create_task(carry(command, folder))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)
        return {"stream": name}
