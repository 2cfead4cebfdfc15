"""The one way to run a command to its end and know how it ended.

Argument lists, never a shell; in a namespace or not; always with a bound on the time. It must
not know what the commands do.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from testbed.errors import LabError
from testbed.net.namespace import Namespace

DEFAULT_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Result:
    """How a command ended. `code` is negative for a signal."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


class CommandFailed(LabError):
    """A command ended with a non-zero code, or not in time."""

    def __init__(self, result: Result, where: str, hint: str = "") -> None:
        what = result.stderr.strip() or result.stdout.strip() or "it printed nothing"
        super().__init__(f"{' '.join(result.argv)!r} ended with code {result.code}: {what}{hint}", where=where)
        self.result = result


# Where a program is, looked for once: the system would try each folder of PATH at each start.
_which = cache(shutil.which)


def run(
    argv: Sequence[str],
    *,
    namespace: Namespace | None = None,
    input: str | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> Result:
    """Run a command to its end. CommandFailed on a non-zero code (if `check`) or a timeout."""
    entered = namespace.enter() if namespace is not None else contextlib.nullcontext()
    with entered:
        process = subprocess.Popen(
            [_which(argv[0]) or argv[0], *argv[1:]],
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=None if env is None else dict(env),
            start_new_session=True,
        )
    where = namespace.name if namespace is not None else "lab"
    try:
        out, err = process.communicate(input, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        late = Result(tuple(argv), -int(signal.SIGKILL), out, err)
        raise CommandFailed(late, where, f" (it did not end within {timeout_s} s)") from None
    result = Result(tuple(argv), process.returncode, out, err)
    if check and result.code != 0:
        raise CommandFailed(result, where)
    return result


def batch(
    program: str,
    lines: Iterable[str],
    *,
    namespace: Namespace | None = None,
    force: bool = False,
) -> Result:
    """Give many lines to one `ip`, `ip -6` or `tc`. Stops at the first bad line unless `force`.

    The error of a bad line says the line itself. A line cannot choose the family: the program's
    own option does.
    """
    text = list(lines)
    if not text:
        return Result((program,), 0, "", "")
    argv = [*program.split(), *(["-force"] if force else []), "-batch", "-"]
    result = run(argv, namespace=namespace, input="\n".join(text) + "\n", check=False)
    if result.code != 0 and not force:
        bad = _bad_line(result.stderr, text)
        raise CommandFailed(result, namespace.name if namespace else "lab", bad)
    return result


def _bad_line(stderr: str, lines: list[str]) -> str:
    """`Command failed -:7` names the seventh line."""
    for word in stderr.split():
        if word.startswith("-:") and word[2:].isdigit():
            number = int(word[2:])
            if 1 <= number <= len(lines):
                return f" (line {number}: {lines[number - 1]!r})"
    return ""


class Daemon:
    """A process started in a namespace, that runs on by itself. Output goes to a file.

    Never to a pipe: what keeps a pipe open hangs whoever reads it to its end.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        namespace: Namespace,
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output, namespace.enter():
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if env is None else dict(env),
                start_new_session=True,
            )
        self.argv = tuple(argv)
        self.pid = self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """SIGTERM."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to it, and reap it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(timeout=10)
