"""Runs Spin: makes a verifier of a Promela model with some switches set, and asks it for one property.

Knows how to call Spin and the compiler and how to read a verifier's answer; nothing of any model.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

MODELS = Path(__file__).parent
_ERRORS = re.compile(r"errors: (\d+)")
_STATES = re.compile(r"^\s*([0-9.e+]+) states, stored", re.MULTILINE)
_DEPTH = 1_000_000


class CannotCheck(Exception):
    """The tools are not there, or a check did not come to its end: then nothing is known, which is not a pass."""


@dataclass(frozen=True)
class Verdict:
    """Whether a property holds for all runs within the bounds; a counterexample otherwise, one step a line."""

    holds: bool
    states: int
    trace: str = ""


class Verifier:
    """One model with these switches (`NAME` or `NAME=VALUE`), compiled once; properties are then asked of it."""

    def __init__(self, model: str, switches: Sequence[str] = (), *, memory_mib: int = 4000) -> None:
        """CannotCheck without Spin or gcc, or for a model that they do not take."""
        for tool in ("spin", "gcc"):
            if shutil.which(tool) is None:
                raise CannotCheck(f"{tool} is not installed; ./lab setup installs it")
        self._file = MODELS / f"{model}.pml"
        self._switches = [f"-D{each}" for each in switches]
        self._folder = tempfile.TemporaryDirectory(prefix="model-")
        shutil.copy(self._file, self._folder.name)  # a trail is looked for beside the model
        self._run(["spin", *self._switches, "-a", self._file.name])
        if not (Path(self._folder.name) / "pan.c").exists():
            raise CannotCheck(f"Spin makes no verifier of {self._file.name} with {list(switches)}")
        self._run(["gcc", "-O0", f"-DMEMLIM={memory_mib}", "-o", "pan", "pan.c"])

    def __enter__(self) -> Verifier:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def check(self, claim: str, *, timeout_s: float = 550, trace: bool = False) -> Verdict:
        """Ask for one `ltl` claim. CannotCheck when the search was not whole."""
        output = self._run(["./pan", "-a", "-N", claim, f"-m{_DEPTH}"], timeout_s)
        errors, states = _ERRORS.search(output), _STATES.search(output)
        if errors is None or states is None or "max search depth too small" in output or "out of memory" in output:
            raise CannotCheck(f"{self._file.name}, {claim}: {output[-400:]}")
        holds = errors.group(1) == "0"
        trail = "" if holds or not trace else self._run(["spin", *self._switches, "-t", "-p", "-g", self._file.name])
        return Verdict(holds, int(float(states.group(1))), trail)

    def _run(self, command: list[str], timeout_s: float = 120) -> str:
        try:
            done = subprocess.run(
                command, cwd=self._folder.name, text=True, timeout=timeout_s, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise CannotCheck(f"{' '.join(command)} was not done after {timeout_s:.0f} s") from error
        if command[0] != "./pan" and done.returncode:
            raise CannotCheck(f"{' '.join(command)}: {done.stdout[-400:]}")
        return done.stdout


@lru_cache(maxsize=64)
def verifier(model: str, switches: tuple[str, ...] = ()) -> Verifier:
    """The verifier of this model with these switches, compiled once in a process; its files go with it."""
    return Verifier(model, switches)
