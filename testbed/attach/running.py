"""The host's side of a running laboratory: find it, ask it, run commands in it, end it.

A laboratory that is up has a run folder of its own below the cache, and its processes carry
that folder's path in an environment variable: so what is left after a crash is found in
/proc/*/environ, and nobody else's process is ever touched. It must not know how a guest boots.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from select import select
from typing import Any, cast

from agents.runtime import stdio
from testbed.attach.channel import CHUNK, CONSOLE, STREAM_POLL_S, Stream, encode, folders, new_id, put
from testbed.errors import EnvironmentFailure, InputError, LabError
from testbed.owned import MARK as OWNED
from testbed.owned import claim, is_own, plain_name, remove

MARK = "ROUTER_KEYS_LAB"
"""The environment variable of a guest's processes; its value is the run folder."""
_ANSWER_TIMEOUT_S = 15.0
_GONE_TIMEOUT_S = 10.0
_LOOK_S = 1.0
_LEAVE = b"\x1d"  # Ctrl-], as telnet
Sink = Callable[[bytes], object]
Ended = Callable[[], bool]


class Refused(LabError):
    """The laboratory refused a request; it said why and with which exit code."""

    def __init__(self, lines: list[str], exit_code: int) -> None:
        super().__init__("\n".join(lines))
        self.exit_code = exit_code


class _Over(Exception):
    """The other end has ended and has not said how."""


@dataclass(frozen=True)
class Running:
    """One laboratory that is up."""

    folder: Path

    @property
    def name(self) -> str:
        """What `--lab` calls it."""
        return self.folder.name

    def processes(self) -> list[int]:
        """Its processes on this machine: those of this user that carry its mark."""
        return marked_processes(str(self.folder.resolve()))

    def ask(self, verb: str, timeout_s: float = _ANSWER_TIMEOUT_S, **fields: Any) -> dict[str, Any]:
        """The answer to a request. Refused; EnvironmentFailure when none comes."""
        name = new_id()
        return self._ask(name, verb, timeout_s, fields)

    def _ask(self, name: str, verb: str, timeout_s: float, fields: dict[str, Any]) -> dict[str, Any]:
        requests, answers, _ = folders(self.folder)
        put(requests / f"{name}.json", encode({"verb": verb, **fields}))
        path, end = answers / f"{name}.json", time.monotonic() + timeout_s
        while not path.exists():
            if time.monotonic() > end:
                with contextlib.suppress(FileNotFoundError):
                    (requests / f"{name}.json").unlink()
                raise EnvironmentFailure(f"laboratory {self.name} does not answer", next_command=_down(self.name))
            time.sleep(STREAM_POLL_S)
        answer: dict[str, Any] = json.loads(path.read_bytes())
        path.unlink()
        if not answer.pop("ok"):
            raise Refused(answer["lines"], int(answer["exit_code"]))
        return answer

    def run(
        self,
        node: str,
        argv: list[str],
        *,
        sink: Sink,
        terminal: bool = False,
        input: bool = True,
        until_interrupted: bool = False,
    ) -> int:
        """Run a command in a node with our standard input (if `input`); its exit code. What it writes goes to `sink`,
        and its errors to our standard error.

        With `terminal`, our terminal is raw meanwhile, and Ctrl-] leaves the command alone. When this ends early, the
        command does. `until_interrupted`: Ctrl-C is its ordinary end, and what it has said until then is carried still.
        """
        name = new_id()
        rows, columns = _size()
        self._ask(
            name, "run", _ANSWER_TIMEOUT_S,
            {"node": node, "argv": argv, "tty": terminal, "rows": rows, "columns": columns},
        )  # fmt: skip
        folder = folders(self.folder)[2] / name
        try:
            with _raw_terminal() if terminal else _stops(folder) if until_interrupted else contextlib.nullcontext():
                return self._carry(folder, sink, leave=_LEAVE if terminal else b"", input=input)
        except BaseException:
            put(folder / "stop", b"")
            raise

    def converse(self, sink: Sink, over: Ended) -> None:
        """Carry what goes to the laboratory's prompt and what comes, where it has no terminal, until it is `over`."""
        folder = folders(self.folder)[2] / CONSOLE
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(_Over):
            self._carry(folder, sink, over=over)

    def _carry(
        self, folder: Path, sink: Sink, *, leave: bytes = b"", input: bool = True, over: Ended | None = None
    ) -> int:
        """The exit code of what runs at the other end; _Over when it has ended without one."""
        outgoing = Stream(folder, "in")
        incoming = [(Stream(folder, "out"), sink), (Stream(folder, "err"), _errors)]
        end, looked = folder / "end", time.monotonic()
        if not input:
            outgoing.close()
        while True:
            last, gone = end.exists(), over is not None and over()
            for stream, write in incoming:
                if data := stream.read():
                    write(data)
            if last:
                code = int(end.read_bytes())
                shutil.rmtree(folder, ignore_errors=True)
                return code
            if gone:
                raise _Over
            if not input or outgoing.full:
                time.sleep(STREAM_POLL_S)
            elif select([0], [], [], STREAM_POLL_S)[0]:
                typed = _typed()
                if leave and leave in typed:
                    put(folder / "stop", b"")
                    return 0
                if typed:
                    outgoing.write(typed)
                else:
                    outgoing.close()
                    input = False
            if stdio.reader_gone():
                raise SystemExit(stdio.READER_GONE)
            if over is None and time.monotonic() > looked + _LOOK_S:
                looked = time.monotonic()
                if not self.processes():
                    raise EnvironmentFailure(f"laboratory {self.name} has ended")

    @contextlib.contextmanager
    def begun(self) -> Iterator[None]:
        """Its folder is made, and the name taken, until it has ended, which is when the block is left. InputError when
        one of the name is up or begins at the same moment."""
        if self.processes():
            raise taken(self)
        claim(self.folder, str(self.folder))
        with (self.folder / OWNED).open("a") as mark:
            try:
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise taken(self) from None
            try:
                yield
            finally:
                self.end()

    def end(self) -> bool:
        """End it: in order if it answers, else by SIGKILL. Whether there was anything to end."""
        there = bool(self.processes())
        if there:
            with contextlib.suppress(LabError):
                self.ask("down", timeout_s=3.0)
                self._wait_until_gone()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            self._wait_until_gone(2.0)
        left = self.processes()
        if left:
            raise EnvironmentFailure(f"processes of laboratory {self.name} survive: {left}")
        remove(self.folder)
        return there

    def _wait_until_gone(self, timeout_s: float = _GONE_TIMEOUT_S) -> None:
        end = time.monotonic() + timeout_s
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)


def marked_processes(value: str) -> list[int]:
    """Processes of this user, other than ourselves, with MARK=value in their environment."""
    wanted = f"{MARK}={value}".encode()
    pids = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            if os.stat(f"/proc/{entry}").st_uid != os.getuid():
                continue
            environment = Path(f"/proc/{entry}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            pids.append(int(entry))
    return pids


def laboratories(base: Path) -> list[Running]:
    """The laboratories below `base`: those that run, and what crashed ones left. Other folders are not looked at."""
    if not base.is_dir():
        return []
    return [Running(folder) for folder in sorted(base.iterdir()) if is_own(folder)]


def chosen(base: Path, name: str | None) -> Running:
    """The laboratory of this name, or the only one. InputError when there is none or several; it says what is up."""
    up = [lab for lab in laboratories(base) if lab.processes()]
    names = ", ".join(lab.name for lab in up)
    if name is not None:
        plain_name(name, "--lab")
    if not up:
        raise InputError("no laboratory is up", next_command="lab up TOPOLOGY, in another terminal")
    if name is None and len(up) > 1:
        raise InputError(
            "several laboratories are up", where="--lab", allowed=names, next_command=f"--lab {up[0].name}, …"
        )
    for lab in up:
        if name in (None, lab.name):
            return lab
    raise InputError(f"no laboratory {name!r} is up", where="--lab", allowed=names)


def taken(lab: Running) -> InputError:
    """The error of a second laboratory of the same name."""
    return InputError(
        f"a laboratory {lab.name!r} is already up", where="--name", allowed="another name", next_command=_down(lab.name)
    )


def _down(name: str) -> str:
    return f"lab down --lab {name}"


def _typed() -> bytes:
    """What has come on standard input; nothing at its end, nor from a terminal that is gone."""
    try:
        return os.read(0, CHUNK)
    except OSError:
        return b""


def _errors(data: bytes) -> None:
    """Write past the buffer: an interruption in the middle of this leaves nothing to be written again."""
    sys.stderr.flush()
    raw, rest = cast(BufferedWriter, sys.stderr.buffer).raw, memoryview(data)
    while rest:
        rest = rest[raw.write(rest) or 0 :]


def _size() -> tuple[int, int]:
    size = shutil.get_terminal_size()
    return size.lines, size.columns


@contextlib.contextmanager
def _stops(folder: Path) -> Iterator[None]:
    """The first Ctrl-C asks the command to end; the second is one as anywhere else."""
    before = signal.getsignal(signal.SIGINT)

    def stop(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        put(folder / "stop", b"")

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin.fileno())
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
