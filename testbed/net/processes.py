"""A warm Python process that forks agents into nodes: milliseconds where an exec takes seconds.

`Nursery` is the side of the laboratory; `serve` is the process itself, a fork of the laboratory's, which has most of
the modules already. It imports what agents need beside them once, and then forks for each request. One JSON object a
datagram, both ways. It must not know what the modules do.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from testbed.errors import EnvironmentFailure
from testbed.net.namespace import KINDS

_MESSAGE_BYTES = 64 * 1024
_ANSWER_TIMEOUT_S = 30.0


class Agent:
    """An agent's process."""

    def __init__(self, nursery: Nursery, pid: int, node: str, name: str) -> None:
        self._nursery = nursery
        self.pid, self.node, self.name = pid, node, name
        self.status: int | None = None
        """As the exit code: negative for a signal; None while it runs."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        self._nursery.collect()
        return self.status is None

    def terminate(self) -> None:
        """SIGTERM."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        while self.status is None:
            self._nursery.collect(timeout_s=5.0)

    def _signal(self, number: int) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Nursery:
    """The laboratory's side: started once, asked for agents."""

    def __init__(self, preload: Sequence[str]) -> None:
        """Start the process; it imports `preload` while we go on. What this process has imported by then it has too,
        and each agent copies: the less that is, the cheaper agents are."""
        self.on_exit: Callable[[Agent], None] = lambda _agent: None
        """Hears every end."""
        self._agents: dict[int, Agent] = {}
        self._log: Path | None = None
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            _begin(theirs, preload)
        theirs.close()

    def write_to(self, log: Path) -> None:
        """What the process itself has to say goes there from now on."""
        self._log = log
        self._socket.send(json.dumps({"output": str(log)}).encode())

    def fileno(self) -> int:
        """Readable when an agent has ended: call `collect` then."""
        return self._socket.fileno()

    def spawn(
        self,
        *,
        node: str,
        namespace_pid: int,
        module: str,
        argv: Sequence[str],
        name: str,
        log: Path,
        env: Mapping[str, str],
        code: Path | None = None,
    ) -> Agent:
        """Fork one agent, of the folder `code` in place of ours. EnvironmentFailure when the nursery cannot."""
        request = {
            "namespaces": f"/proc/{namespace_pid}/ns",
            "module": module,
            "argv": list(argv),
            "name": f"{node}:{name}",
            "log": str(log),
            "env": dict(env),
        }
        if code is not None:
            request["code"] = str(code)
        answer: dict[str, Any] | None = None
        try:
            self._socket.send(json.dumps(request).encode())
            while answer is None:
                answer = self._receive(_ANSWER_TIMEOUT_S, wanted="pid")
        except OSError as error:
            raise EnvironmentFailure(
                f"the nursery of agents is gone: {error}", next_command=f"read {self._log}"
            ) from None
        if "error" in answer:
            raise EnvironmentFailure(f"no agent {name} on {node}: {answer['error']}")
        agent = Agent(self, int(answer["pid"]), node, name)
        self._agents[agent.pid] = agent
        return agent

    def agents(self) -> list[Agent]:
        """Those that run, by node and name."""
        self.collect()
        return sorted(self._agents.values(), key=lambda agent: (agent.node, agent.name))

    def collect(self, timeout_s: float = 0.0) -> None:
        """Hear of the ends so far; wait for one up to `timeout_s`."""
        while self._receive(timeout_s, wanted=None, optional=True) is not None:
            timeout_s = 0.0

    def _receive(self, timeout_s: float, *, wanted: str | None, optional: bool = False) -> dict[str, Any] | None:
        readable, _, _ = select.select([self._socket], [], [], timeout_s)
        if not readable:
            if optional:
                return None
            raise OSError("no answer in time")
        data = self._socket.recv(_MESSAGE_BYTES)
        if not data:
            if optional:
                return None
            raise OSError("its process has ended")
        message: dict[str, Any] = json.loads(data)
        if "exit" in message:
            agent = self._agents.pop(int(message["exit"]), None)
            if agent is not None:
                agent.status = int(message["status"])
                self.on_exit(agent)
            return message if wanted is None else None
        return message

    def close(self) -> None:
        """End the nursery and every agent."""
        for agent in list(self._agents.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(agent.pid, signal.SIGKILL)
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _begin(control: socket.socket, preload: Sequence[str]) -> None:
    """The child of the laboratory: keep nothing of it but its modules, serve, and never return."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        own = control.fileno()
        os.closerange(3, own)
        os.closerange(own + 1, os.sysconf("SC_OPEN_MAX"))
        # Whoever forked may have put others in their place.
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
        serve(control, preload)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def serve(control: socket.socket, preload: Sequence[str]) -> None:
    """The process: import, then fork on request and report ends, until the other side closes."""
    for name in preload:
        import_module(name)
    gc.freeze()  # a collection in an agent would write to all that it looks at, and so copy what forks share
    waker, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([control.fileno(), waker], [], [])
        if waker in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(waker, 4096)
        if control.fileno() in readable:
            data = control.recv(_MESSAGE_BYTES)
            if not data:
                return
            request = json.loads(data)
            if "output" in request:
                _write_to(request["output"])
                continue
            pid = os.fork()
            if pid == 0:
                _become(control, waker, wake, request)
            control.send(json.dumps({"pid": pid}).encode())
        _report_ends(control)


def _write_to(log: str) -> None:
    """Standard output and error, which are not to be the laboratory's."""
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for place in (1, 2):
        os.dup2(opened, place)
    os.close(opened)


def _report_ends(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        control.send(json.dumps({"exit": pid, "status": code}).encode())


def _become(control: socket.socket, waker: int, wake: int, request: dict[str, Any]) -> None:
    """The child: be the agent, and never return."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        os.close(waker)
        os.close(wake)
        os.setsid()
        _write_to(request["log"])
        for kind, flag in KINDS.items():
            namespace = os.open(f"{request['namespaces']}/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            os.setns(namespace, flag)
            os.close(namespace)
        Path("/proc/self/comm").write_text(request["name"][:15])
        os.environ.update(request["env"])
        if "code" in request:
            _forget(request["module"], request["code"])
        sys.argv = [request["module"], *request["argv"]]
        result = import_module(request["module"]).main(request["argv"])
        code = result if isinstance(result, int) else 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _forget(module: str, code: str) -> None:
    """Import a module's package from a folder in place of what is imported already."""
    package = module.split(".")[0]
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
    sys.path.insert(0, code)
