"""Several processes that are one DKS: this one holds the port's sockets, starts the workers and replaces those that
end.

A router's datagrams always reach the same worker (`agents.runtime.shared_udp`). Shared state is on the disk: documents,
the ledger, the revocation list, confirmations. This process fetches from the Policy Server and answers the
administrator from the workers' answers. It sees no message and has no key in its memory. When it is killed, the workers
end too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.dks import answers
from agents.dks.config import DksConfig
from agents.dks.documents import Documents
from agents.dks.metrics import ailments
from agents.dks.serve import LEDGER, prepare
from agents.dks.store import GenerationLedger
from agents.policy.keys import read_public_key
from agents.runtime import notify
from agents.runtime.control import CommandRefused, ControlServer, ask
from agents.runtime.effects import Event
from agents.runtime.events import EventLog
from agents.runtime.metrics_http import MetricsServer
from agents.runtime.settings import ConfigError
from agents.runtime.shared_udp import bind_shared

FATAL = (2, 3)
"""Exit codes of a worker that would end its replacement as well."""
FIRST_WAIT_S, LONGEST_WAIT_S, FACTOR = 0.2, 30.0, 2.0
LIVED_S = 60.0
"""A worker that lived this long is replaced at once, as the first time."""
ANSWER_S = 5.0
END_S = 10.0
READY_LOOK_S = 0.1


class WorkerFailed(Exception):
    """A worker cannot use its configuration or its state; it has reported why."""


class Supervisor:
    """`path`: the configuration's file, which the workers read themselves. `words`: options for their command lines."""

    def __init__(
        self, path: Path, config: DksConfig, log: EventLog, ike_log: Path | None, words: Sequence[str] = ()
    ) -> None:
        self._words = words
        self._path, self._config, self._log, self._ike_log = path, config, log, ike_log
        self._numbers = range(config.workers)
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._restarts = dict.fromkeys(self._numbers, 0)
        self._done = asyncio.Event()
        self._following: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. ConfigError, PolicyError, sqlite3.Error, OSError, WorkerFailed."""
        policy = prepare(self._config)
        refuse_central(self._config)
        GenerationLedger(self._config.state_dir / LEDGER).close()  # made once, before several processes want it
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._done.set)
        loop.add_signal_handler(signal.SIGHUP, self._reopen)
        shared = bind_shared(self._config.port, self._config.listen, len(self._numbers))
        tasks = [asyncio.create_task(self._keep(number, shared[number])) for number in self._numbers]
        if policy is not None:
            tasks.append(asyncio.create_task(policy.run(self._log.write)))
        control = await self._open_control()
        metrics = await self._open_metrics()
        tasks += [asyncio.create_task(self._tell_ready()), asyncio.create_task(self._tell_alive())]
        done = asyncio.create_task(self._done.wait())
        try:
            ended, _others = await asyncio.wait([done, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()  # raises the exception that ended it
            notify.stopping()
        finally:
            self._done.set()
            if control is not None:
                control.stop()
            if metrics is not None:
                metrics.stop()
            await _cancelled([done, *tasks, *self._following])
            await self._end_workers()
            for one in (each for bound in shared for each in bound):
                one.close()

    # -- processes ---------------------------------------------------------------------------------------

    async def _keep(self, number: int, bound: Sequence[socket.socket]) -> None:
        """One worker after the other in this place. WorkerFailed."""
        wait_s = FIRST_WAIT_S
        while True:
            began = time.monotonic()
            process = await self._start(number, bound)
            code = await process.wait()
            del self._processes[number]
            self._log.write(Event("worker", {"worker": number, "state": "ended", "code": code}))
            if code in FATAL:
                raise WorkerFailed(f"worker {number} ended with exit code {code}")
            wait_s = FIRST_WAIT_S if time.monotonic() - began > LIVED_S else wait_s
            await asyncio.sleep(wait_s)
            wait_s = min(LONGEST_WAIT_S, wait_s * FACTOR)
            self._restarts[number] += 1

    async def _start(self, number: int, bound: Sequence[socket.socket]) -> asyncio.subprocess.Process:
        descriptors = [each.fileno() for each in bound]
        words = ["--config", str(self._path), "--share", f"{number}/{len(self._numbers)}", "--parent", str(os.getpid())]
        words += ["--sockets", ",".join(map(str, descriptors))]
        if (control := self._control(number)) is not None:
            words += ["--control", str(control)]
        if self._ike_log is not None:
            words += ["--ike-log", str(self._ike_log)]
        words += self._words
        # Only this process notifies the service manager.
        environment = {name: value for name, value in os.environ.items() if name not in notify.NAMES}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agents.dks.worker", *words,
            pass_fds=descriptors, stdin=asyncio.subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        self._processes[number] = process
        self._log.write(Event("worker", {"worker": number, "state": "started", "pid": process.pid}))
        return process

    def _reopen(self) -> None:
        """The events file has been moved away: all processes open it again."""
        self._log.reopen()
        for each in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                each.send_signal(signal.SIGHUP)

    async def _end_workers(self) -> None:
        running = list(self._processes.values())
        for each in running:
            with contextlib.suppress(ProcessLookupError):
                each.terminate()
        try:
            await asyncio.wait_for(asyncio.gather(*(each.wait() for each in running)), END_S)
        except TimeoutError:
            for each in running:
                with contextlib.suppress(ProcessLookupError):
                    each.kill()
                await each.wait()

    # -- the service manager -----------------------------------------------------------------------------

    async def _tell_ready(self) -> None:
        """Wait until every worker answers; without a `socket`, until all have been started. Continues for ever then:
        the end of a task ends the DKS."""
        while self._config.socket is not None and None in [await self._ask(n, ["status"]) for n in self._numbers]:
            await asyncio.sleep(READY_LOOK_S)
        notify.ready()
        await asyncio.Event().wait()

    async def _tell_alive(self) -> None:
        await notify.stay_alive()
        await asyncio.Event().wait()

    # -- the administrator -------------------------------------------------------------------------------

    def _control(self, number: int) -> Path | None:
        path = self._config.socket
        return None if path is None else path.with_name(f"{path.name}.{number}")

    async def _open_control(self) -> ControlServer | None:
        if self._config.socket is None:
            return None
        control = ControlServer(self._config.socket, self._answer, lambda watched: self._watch(control, watched))
        try:
            await control.start()
        except OSError as error:
            self._log.write(Event("error", {"what": "control socket", "detail": str(error)}))
            return None
        return control

    async def _open_metrics(self) -> MetricsServer | None:
        if self._config.metrics_port is None:
            return None

        async def page() -> str:
            return str((await self._answer(["metrics"]))["text"])

        async def ailing() -> list[str]:
            status = await self._answer(["status"])
            return ailments(status["routers"], **status["workers"])

        server = MetricsServer(self._config.metrics_address, self._config.metrics_port, page, ailing)
        try:
            await server.start()
        except OSError as error:
            self._log.write(Event("error", {"what": "metrics", "detail": str(error)}))
            return None
        return server

    async def _answer(self, words: Sequence[str]) -> Mapping[str, Any]:
        """Ask all workers, and make one answer. CommandRefused."""
        shares = await asyncio.gather(*(self._ask(number, words) for number in self._numbers))
        given = [(number, each) for number, each in enumerate(shares) if isinstance(each, Mapping)]
        refused = [each for each in shares if isinstance(each, CommandRefused)]
        if not given:
            raise refused[0] if refused else CommandRefused("no worker answers; try again in a moment")
        match list(words):
            case ["status"]:
                return answers.status(given, len(self._numbers))
            case ["metrics"]:
                return answers.metrics(given, len(self._numbers), self._restarts)
            case _:  # confirmations: all read them from one folder; rekey: only the worker with the router agrees
                return given[0][1]

    async def _ask(self, number: int, words: Sequence[str]) -> Mapping[str, Any] | CommandRefused | None:
        path = self._control(number)
        assert path is not None
        try:
            return await asyncio.to_thread(ask, path, " ".join(words), ANSWER_S)
        except CommandRefused as refusal:
            return refusal
        except (OSError, ValueError):
            return None

    # -- events ------------------------------------------------------------------------------------------

    def _watch(self, control: ControlServer, watched: bool) -> None:
        """Pass on the workers' events while a client follows them."""
        for each in self._following:
            each.cancel()
        self._following = []
        self._log.subscriber = control.publish if watched else None
        if watched:
            self._following = [asyncio.create_task(self._follow(number, control)) for number in self._numbers]

    async def _follow(self, number: int, control: ControlServer) -> None:
        path = self._control(number)
        assert path is not None
        while True:
            with contextlib.suppress(OSError, ValueError):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(b'{"command": "events"}\n')
                    while line := await reader.readline():
                        control.publish(line.decode().rstrip("\n"))
                finally:
                    writer.close()
            await asyncio.sleep(FIRST_WAIT_S)  # its successor is starting


async def _cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def refuse_central(config: DksConfig) -> None:
    """ConfigError when this DKS would distribute keys of a whole group: all its members must ask one process."""
    documents = Documents(config.domain, read_public_key(config.policy_server_key))
    documents.load(config.documents)
    for name in documents.routers():
        document = documents.of(name)
        if document is not None and document.issuer == "dks" and not document.local_key_server:
            raise ConfigError(
                f"workers = {config.workers}: {name} has no local_key_server, and a DKS that distributes keys itself "
                "is one process: set workers = 1"
            )
