"""Boots a guest for one command and brings back its exit code.

Three kinds of kernel, one userland: `virtual` (User-Mode Linux in virtual time), `uml` (the same on the real clock,
or Debian's ready package where ours is not built) and `native` (the running kernel, in namespaces of its own).
The guest and all its processes end with the call, and with this process, however that ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from testbed import owned
from testbed.errors import EnvironmentFailure, InputError
from testbed.guest import native, uml
from testbed.setup import children, code, kernel, tree
from testbed.setup.all import make_all
from testbed.setup.artefact import in_use

__all__ = ["KERNELS", "GuestResult", "GuestSpec", "Kernel", "run_guest", "tail"]

Kernel = Literal["virtual", "uml", "native"]
KERNELS: tuple[str, ...] = get_args(Kernel)
NAME_IN_ENVIRONMENT = "ROUTER_KEYS_LAB"
SUPERVISE = Path(__file__).with_name("supervise.py")


@dataclass(frozen=True)
class GuestSpec:
    """One command in one guest. `run_dir` is the host's folder that appears as /lab/run, read-write.

    `needs`: what a `native` kernel must offer, of testbed.guest.native.NEEDS. `tests`: with what only tests use.
    `without`: the shortcuts that our own kernel leaves out. `folders`: further folders of the host by name, which
    appear read-only as /mnt/NAME; not on a `native` kernel.
    """

    kernel: Kernel
    command: tuple[str, ...]
    run_dir: Path
    seed: int = 1
    memory_mib: int = 2048
    console: bool = False
    needs: tuple[str, ...] = tuple(native.NEEDS)
    tests: bool = False
    without: uml.Shortcut = uml.NO_SHORTCUT
    folders: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class GuestResult:
    """How it ended. `virtual_s` is the guest's own uptime; on the real clock it is close to `wall_s`. `counts`: what
    our own kernel counted: "trips" to a program and back, "syscalls", page "faults", and "programs" started.
    """

    exit_code: int
    wall_s: float
    virtual_s: float
    console_log: Path
    counts: Mapping[str, int] = field(default_factory=dict)


def run_guest(spec: GuestSpec, *, timeout_s: float | None = None) -> GuestResult:
    """Make what is missing for the kernel, boot, run the command, power off.

    Raises InputError for an unknown kernel, EnvironmentFailure when the guest cannot be started, dies without an
    answer, or is still running after `timeout_s` seconds of wall time.
    """
    if spec.kernel not in KERNELS:
        raise InputError(f"unknown kernel {spec.kernel!r}", where="--kernel", allowed=", ".join(KERNELS))
    if spec.folders and spec.kernel == "native":
        raise InputError(f"{', '.join(spec.folders)}: only a guest has it", where="--kernel", allowed="virtual, uml")
    make_all(spec.kernel, tests=spec.tests)
    root = tree.tree(tests=spec.tests)
    run_dir = spec.run_dir.resolve()
    answer, log, control = run_dir / "guest-exit.json", run_dir / "console.log", run_dir / ".uml"
    environment = {**os.environ, NAME_IN_ENVIRONMENT: str(run_dir)}
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        owned.fresh(control, str(control))
        answer.unlink(missing_ok=True)
        wishes: dict[str, Any] = {"command": spec.command, "console": spec.console}
        if spec.folders:
            wishes["folders"] = [*spec.folders]
        (run_dir / "guest.json").write_text(json.dumps(wishes))
        log.write_bytes(b"")
    except OSError as error:
        raise EnvironmentFailure(
            f"the run's folder cannot be written: {error.strerror}",
            where=str(run_dir),
            allowed="a folder that you may write",
        ) from error
    started = time.monotonic()
    try:
        if spec.kernel == "native":
            argv = native.argv(root, run_dir, spec.needs)
        else:
            argv = uml.argv(
                root=root,
                virtual=spec.kernel == "virtual",
                run_dir=run_dir,
                control_dir=control,
                seed=spec.seed,
                memory_mib=spec.memory_mib,
                without=spec.without,
                folders=spec.folders,
            )
            allowed = json.dumps(uml.allowed(control, spec.memory_mib))
            argv = [sys.executable, "-I", "-S", str(SUPERVISE), allowed, *argv]
        with in_use(root.name, kernel.kernel().name), code.used():
            _wait(argv, spec, log, {"env": environment, "cwd": control}, timeout_s)
    finally:
        owned.remove(control)
    wall_s = time.monotonic() - started
    if not answer.exists():
        raise EnvironmentFailure(
            f"the guest ended without an answer:\n{tail(log)}", where=str(log), next_command="./lab doctor"
        )
    outcome = json.loads(answer.read_text())
    return GuestResult(outcome["exit_code"], wall_s, outcome["virtual_s"], log, outcome["counts"])


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a console log, indented, for an error message."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join("    " + line for line in text.splitlines()[-lines:]) or "    (it printed nothing)"


def _wait(argv: Sequence[str], spec: GuestSpec, log: Path, options: dict[str, Any], timeout_s: float | None) -> None:
    """Run the guest to its end. `options` are subprocess.Popen's."""
    with log.open("wb") as sink, _terminal_restored(spec.console):
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": sink, "stderr": subprocess.STDOUT}
        if not spec.console:
            options = {**options, **quiet}
        # unshare ignores SIGTERM, and takes its namespace with it; our supervisor needs the moment to end the rest.
        on_end = signal.SIGKILL if spec.kernel == "native" else signal.SIGTERM
        with children.started(argv, on_end=on_end, own_group=not spec.console, **options) as guest:
            try:
                guest.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise EnvironmentFailure(
                    f"the guest was still running after {timeout_s:.0f} s:\n{tail(log)}", where=str(log)
                ) from None


@contextmanager
def _terminal_restored(console: bool) -> Iterator[None]:
    """The guest makes our terminal raw, so that Ctrl-C reaches what runs inside; a killed one leaves it so."""
    if not console or not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
