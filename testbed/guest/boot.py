"""Boots a guest for one command and brings back its exit code.

Three kinds of kernel, one userland: `virtual` (User-Mode Linux in virtual time), `uml` (the same on the real clock,
or Debian's ready package where ours is not built) and `native` (the running kernel, in namespaces of its own).
The guest and all its processes end with the call, however it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from testbed.errors import EnvironmentFailure, InputError
from testbed.guest import native
from testbed.setup import kernel, tree
from testbed.setup.paths import PROJECT

Kernel = Literal["virtual", "uml", "native"]
KERNELS: tuple[str, ...] = get_args(Kernel)
READY_UML = Path("/usr/bin/linux.uml")
READY_MODULES = Path("/usr/lib/uml/modules")
# Seconds since 1970 at which every guest in virtual time starts: 2030-01-01, so that dates repeat with the seed.
VIRTUAL_EPOCH_S = 1893456000
NAME_IN_ENVIRONMENT = "ROUTER_KEYS_LAB"


@dataclass(frozen=True)
class GuestSpec:
    """One command in one guest. `run_dir` is the host's folder that appears as /lab/run, read-write."""

    kernel: Kernel
    command: tuple[str, ...]
    run_dir: Path
    seed: int = 1
    memory_mib: int = 2048
    console: bool = False


@dataclass(frozen=True)
class GuestResult:
    """How it ended. `virtual_s` is the guest's own uptime; on the real clock it is close to `wall_s`."""

    exit_code: int
    wall_s: float
    virtual_s: float
    console_log: Path


def run_guest(spec: GuestSpec, *, timeout_s: float | None = None) -> GuestResult:
    """Boot, run the command, power off.

    Raises InputError for an unknown kernel, EnvironmentFailure when the guest cannot be started, dies without an
    answer, or is still running after `timeout_s` seconds of wall time.
    """
    if spec.kernel not in KERNELS:
        raise InputError(f"unknown kernel {spec.kernel!r}", allowed=", ".join(KERNELS))
    spec.run_dir.mkdir(parents=True, exist_ok=True)
    answer = spec.run_dir / "guest-exit.json"
    answer.unlink(missing_ok=True)
    (spec.run_dir / "guest.json").write_text(json.dumps({"command": spec.command, "console": spec.console}))
    log = spec.run_dir / "console.log"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lab-uml-") as sockets:
        argv = native.argv(spec.run_dir) if spec.kernel == "native" else _uml_argv(spec, Path(sockets))
        _wait(argv, spec, log, timeout_s)
    wall_s = time.monotonic() - started
    if not answer.exists():
        raise EnvironmentFailure(
            f"the guest ended without an answer:\n{tail(log)}", where=str(log), next_command="./lab doctor"
        )
    told = json.loads(answer.read_text())
    return GuestResult(told["exit_code"], wall_s, told["virtual_s"], log)


_live: set[subprocess.Popen[bytes]] = set()


def end_all() -> None:
    """Kill every guest that this process runs, from whatever thread; their run_guest calls then raise."""
    for guest in list(_live):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(guest.pid, signal.SIGKILL)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a console log, indented, for an error message."""
    if not log.exists():
        return "    (it printed nothing)"
    return "\n".join("    " + line for line in log.read_text(errors="replace").splitlines()[-lines:])


def _uml_argv(spec: GuestSpec, sockets: Path) -> list[str]:
    binary, modules = _uml_kernel(spec.kernel)
    words = {
        "mem": f"{spec.memory_mib}M",
        "root": "/dev/root",
        "rootfstype": "hostfs",
        "rootflags": escape(tree.tree().path / "root"),
        "con0": "fd:0,fd:1",
        "con": "null",
        "init": f"/{tree.INIT}",
        "uml_dir": str(sockets),
        "panic": "-1",
        "loglevel": "3",
        "lab_project": escape(PROJECT),
        "lab_run": escape(spec.run_dir.resolve()),
    }
    if modules is None:
        words["seccomp"] = "on"
        words["testbed_seed"] = str(spec.seed)
    else:
        words["lab_modules"] = escape(modules)
    if spec.kernel == "virtual":
        words["time-travel"] = "inf-cpu"
        words["time-travel-start"] = str(VIRTUAL_EPOCH_S)
    return [str(binary), "ro", "quiet", *(f"{name}={value}" for name, value in words.items())]


def _uml_kernel(kind: str) -> tuple[Path, Path | None]:
    """The kernel's binary, and the folder of its modules if it has any."""
    if not tree.tree().ready:
        raise EnvironmentFailure("the guest tree is not made", next_command="./lab setup")
    if kernel.kernel().ready:
        return kernel.binary(), None
    if kind == "uml" and READY_UML.exists():
        return READY_UML, READY_MODULES
    raise EnvironmentFailure("the guest kernel is not built", next_command=f"./lab setup --kernel {kind}")


def escape(path: Path) -> str:
    """A path for the kernel's command line: what a shell's printf undoes, one word."""
    plain = "/-_.+,:@"
    return "".join(c if c.isascii() and (c.isalnum() or c in plain) else _octal(c) for c in str(path))


def _octal(character: str) -> str:
    return "".join(f"\\{octet:03o}" for octet in character.encode())


def _wait(argv: Sequence[str], spec: GuestSpec, log: Path, timeout_s: float | None) -> None:
    """Run the guest to its end. It dies with this process, and leaves no core file behind."""
    guarded = ["setpriv", "--pdeathsig", "KILL", "prlimit", "--core=0", *argv]
    if shutil.which("setpriv") is None:
        raise EnvironmentFailure("setpriv is not installed", next_command="sudo apt-get install util-linux")
    environment = {**os.environ, NAME_IN_ENVIRONMENT: str(spec.run_dir.resolve())}
    with log.open("wb") as sink:
        quiet = {} if spec.console else {"stdin": subprocess.DEVNULL, "stdout": sink, "stderr": subprocess.STDOUT}
        guest = subprocess.Popen(guarded, env=environment, start_new_session=not spec.console, **quiet)
        _live.add(guest)
        try:
            guest.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise EnvironmentFailure(
                f"the guest was still running after {timeout_s:.0f} s:\n{tail(log)}", where=str(log)
            ) from None
        finally:
            _end(guest, own_group=not spec.console)
            _live.discard(guest)


def _end(guest: subprocess.Popen[bytes], *, own_group: bool) -> None:
    """Kill what is left of the guest. Its helper processes are in its process group and die with it."""
    if own_group:
        try:
            os.killpg(guest.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    elif guest.poll() is None:
        guest.kill()
    guest.wait()
