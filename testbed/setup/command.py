"""Runs the programs that setup needs, quietly, and says what they printed when they fail."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.setup.progress import say

TAIL_LINES = 12


def run(
    argv: Sequence[str | Path],
    *,
    what: str,
    log: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    tries: int = 1,
    next_command: str | None = None,
) -> str:
    """Run a program to its end and return what it printed, both streams together.

    Network steps give `tries` > 1: package indexes can be unreachable for a moment. Raises EnvironmentFailure
    with the last lines of the output when the last try fails too.
    """
    output = ""
    for attempt in range(1, tries + 1):
        try:
            done = subprocess.run(
                [str(word) for word in argv], cwd=cwd, env={**os.environ, **(env or {})}, text=True, errors="replace",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise EnvironmentFailure(f"{what}: {argv[0]} is not installed", next_command="./lab doctor") from error
        output = done.stdout
        if log is not None:
            log.write_text(output)
        if done.returncode == 0:
            return output
        if attempt < tries:
            say(f"{what} failed (try {attempt} of {tries}); once more")
            time.sleep(2 * attempt)
    tail = "\n".join("    " + line for line in output.strip().splitlines()[-TAIL_LINES:])
    raise EnvironmentFailure(
        f"{what} failed (exit code {done.returncode}):\n{tail}",
        where=str(log) if log else None,
        next_command=next_command or "./lab doctor",
    )
