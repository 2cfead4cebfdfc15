"""Runs the programs that setup needs, quietly, and says what they printed when they fail."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.setup import children
from testbed.setup.progress import say

TAIL_LINES = 12
# An ordinary user's PATH lacks these; chroot is there.
SYSTEM_PATH = "/usr/sbin:/sbin"
DISK_FULL = ("No space left on device", "Disk quota exceeded", "not enough free space")


class DiskFull(EnvironmentFailure):
    """A program failed since the disk is full."""


def run(
    argv: Sequence[str | Path],
    *,
    what: str,
    log: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    tries: int = 1,
    on_line: Callable[[str], None] | None = None,
    end_with: signal.Signals | None = signal.SIGTERM,
    next_command: str | None = None,
    allowed: Sequence[int] = (0,),
) -> str:
    """Run a program to its end and return what it printed, both streams together.

    Network steps give `tries` > 1: package indexes can be unreachable for a moment. `on_line` sees every line as it
    comes. `end_with` is the signal it gets when this process ends before it; None for what must not be cut short.
    `allowed` are the exit codes of a program that did its work.
    Raises EnvironmentFailure with the last lines of the output when the last try fails too; DiskFull for that reason.
    """
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PATH}", **(env or {})}
    if shutil.which(str(argv[0]), path=environment["PATH"]) is None:
        raise EnvironmentFailure(f"{what}: {argv[0]} is not installed", next_command="./lab doctor")
    for attempt in range(1, tries + 1):
        code, output = _once(argv, cwd, environment, on_line, end_with)
        if log is not None:
            log.write_text(output)
        if code in allowed:
            return output
        if attempt == tries or any(sign in output for sign in DISK_FULL):
            break
        say(f"{what} failed (try {attempt} of {tries}); trying again")
        time.sleep(2 * attempt)
    tail = "\n".join("    " + line for line in output.strip().splitlines()[-TAIL_LINES:])
    if any(sign in output for sign in DISK_FULL):
        raise DiskFull(
            f"{what} failed, since the disk is full:\n{tail}",
            allowed="more free space, or LAB_CACHE set to a folder that has it",
            next_command="df -h; ./lab doctor",
        )
    raise EnvironmentFailure(f"{what} failed (exit code {code}):\n{tail}", next_command=next_command or "./lab doctor")


def _once(
    argv: Sequence[str | Path],
    cwd: Path | None,
    env: Mapping[str, str],
    on_line: Callable[[str], None] | None,
    end_with: signal.Signals | None,
) -> tuple[int, str]:
    lines: list[str] = []
    with children.started(
        argv, on_end=end_with, cwd=cwd, env=env, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(line)
            if on_line is not None:
                on_line(line)
        return child.wait(), "".join(lines)
