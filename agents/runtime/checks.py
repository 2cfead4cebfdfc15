"""The findings of a program's `check`: each thing that the program needs, its state, and the remedy.

`check` uses the readers of the running program, so that both report the same. Knows no program's files.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.policy.errors import PolicyError
from agents.policy.keys import read_private_key, read_public_key
from agents.runtime import harden
from agents.runtime.control import answers
from agents.runtime.exits import EXIT_DONE, EXIT_STATE, EXIT_USAGE
from agents.runtime.settings import ConfigError
from agents.runtime.stderr import advised, tell
from agents.runtime.storage import CorruptRecord, write_atomic

T = TypeVar("T")
WRITTEN_AT = 1_767_225_600
"""2026-01-01: a correct clock is never before it."""
_PROBE, _OCTETS = "check", 1 << 16
_SOCKET_OCTETS = 107
"""The most octets of a path in sockaddr_un (unix(7)), without the final zero."""
SERVICE = "router-keys"
"""The beginning of the names of the services' users (packaging/systemd/router-keys.sysusers)."""
LITTLE = 16 << 20
"""Octets of free disk below which there is a warning."""
RAISED = (PolicyError, CorruptRecord, OSError, ValueError, RuntimeError)
"""The exceptions of readers about wrong files and systems."""


class State(StrEnum):
    """The state of one thing."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One checked thing. `code`: the exit code that it calls for."""

    what: str
    state: State
    detail: str
    code: int = EXIT_DONE


class Checks:
    """The findings, in the order in which they were made."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def ok(self, what: str, detail: str) -> None:
        """The thing is as it must be."""
        self.findings.append(Finding(what, State.OK, detail))

    def warn(self, what: str, detail: str, command: str = "") -> None:
        """The program works, but an administrator should look."""
        self.findings.append(Finding(what, State.WARNING, _with(detail, command)))

    def wrong(self, what: str, detail: str, command: str = "", code: int = EXIT_STATE) -> None:
        """The program cannot do its work."""
        self.findings.append(Finding(what, State.WRONG, _with(detail, command), code))

    def tried(self, what: str, job: Callable[[], T], text: Callable[[T], str] | str) -> T | None:
        """The job's result, and a finding: `text` of the result, or the exception."""
        try:
            result = job()
        except ConfigError as error:
            self.wrong(what, str(error), code=EXIT_USAGE)
        except RAISED as error:
            self.wrong(what, advised(error))
        else:
            self.ok(what, text if isinstance(text, str) else text(result))
            return result
        return None

    @property
    def code(self) -> int:
        """0: the program can work; 2: the configuration is wrong; 3: another thing is."""
        codes = {each.code for each in self.findings}
        return EXIT_USAGE if EXIT_USAGE in codes else max(codes, default=EXIT_DONE)

    def text(self) -> str:
        """The findings as text."""
        lines = []
        for each in self.findings:
            first, *rest = each.detail.splitlines() or [""]
            lines_of_it = [] if each.state is State.WRONG else rest  # the rest of it is printed as an error
            lines += [f"{each.state:8} {each.what}: {first}", *(f"         {line}" for line in lines_of_it)]
        return "\n".join(lines)

    def show(self, program: str, *, as_json: bool) -> int:
        """Print the findings, and errors on standard error; the exit code."""
        print(json.dumps([asdict(each) for each in self.findings], indent=1) if as_json else self.text())
        wrong = [each for each in self.findings if each.state is State.WRONG]
        for each in wrong:
            tell(program, f"{each.what}: {each.detail}")
        if not wrong and not as_json:
            print("all is as it must be")
        return self.code


def _with(detail: str, command: str) -> str:
    return f"{detail}\n  next:    {command}" if command else detail


# -- what every program needs ---------------------------------------------------------------------------


def state_folder(checks: Checks, path: Path) -> None:
    """A folder that only this user can access, on a writable disk."""

    if not path.exists():
        checks.warn("state", f"{path}: does not exist yet; the first start makes it")
        return

    service = _service_of(path)

    def probe() -> None:
        if not service:
            harden.folder(path)
        name = path / f".{_PROBE}"
        try:
            write_atomic(name, bytes(_OCTETS))
        finally:
            name.unlink(missing_ok=True)

    checks.tried("state", probe, f"{path}: accessible to {service or 'us'} only, and writable")
    space(checks, path)


def user_of(path: Path) -> int | None:
    """The service's user that has this state folder alone, when root runs the check; None for another user's folder."""
    return path.stat().st_uid if _service_of(path) else None


def _service_of(path: Path) -> str:
    """That user's name, or ""."""
    try:
        status = path.stat()
    except OSError:
        return ""
    if os.geteuid() != 0 or status.st_mode & 0o022:
        return ""
    try:
        name = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        return ""
    return name if name.startswith(SERVICE) else ""


def space(checks: Checks, path: Path) -> None:
    """A warning where the disk is nearly full."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return  # a missing folder is reported elsewhere
    free = disk.f_bavail * disk.f_frsize
    if 0 < free < LITTLE:
        checks.warn("disk", f"{path}: {free >> 10} KiB are free", f"df -h {path}")


def keys(
    checks: Checks, identity: Path, policy_server: Path, state: Path
) -> tuple[Ed25519PrivateKey | None, Ed25519PublicKey | None]:
    """A daemon's own key, and that of the Policy Server; None for an unusable one."""
    whose = f"{identity}: Ed25519, {_service_of(state) or 'ours'}"
    return (
        checks.tried("identity", lambda: read_private_key(identity, user_of(state)), whose),
        checks.tried("policy server's key", lambda: read_public_key(policy_server), str(policy_server)),
    )


def out_folder(checks: Checks, what: str, path: Path | None) -> None:
    """The folder of a file or socket that the program makes."""
    if path is None:
        return

    def look() -> None:
        parent = path.parent
        if not parent.stat().st_mode & 0o170000 == 0o040000:
            raise NotADirectoryError(20, "Not a directory", str(parent))
        if not os.access(parent, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied", str(parent))
        harden.room(parent)

    checks.tried(what, look, str(path))


class Doors(Protocol):
    """The paths where a daemon answers and writes, from its configuration."""

    @property
    def socket(self) -> Path | None:
        """The socket of commands."""

    @property
    def events(self) -> Path | None:
        """The file of events."""

    @property
    def metrics_address(self) -> str:
        """The address of metrics."""

    @property
    def metrics_port(self) -> int | None:
        """The same; None: nowhere."""


def doors(checks: Checks, program: str, config: Doors, what: str, bound: Callable[[], Iterable[socket.socket]]) -> None:
    """A daemon's port (`what`, which `bound` opens), socket, metrics and events. Those of a running daemon are not
    opened."""
    running = config.socket is not None and answers(config.socket)

    def tried() -> None:
        for each in bound():
            each.close()

    if running:
        checks.ok(what, f"the running {program.upper()} has it")
    else:
        checks.tried(what, tried, "free")
    _control_socket(checks, config.socket)
    if not running:
        _metrics_port(checks, config.metrics_address, config.metrics_port)
    out_folder(checks, "events", config.events)


def _control_socket(checks: Checks, path: Path | None) -> None:
    """The program's control socket: its folder, and the length of its path (unix(7))."""
    if path is not None and len(os.fsencode(path)) > _SOCKET_OCTETS:
        checks.wrong(
            "socket", f"{path}: {len(os.fsencode(path))} octets, more than the {_SOCKET_OCTETS} of a socket's path"
        )
        return
    out_folder(checks, "socket", path)


def _metrics_port(checks: Checks, address: str, port: int | None) -> None:
    """Whether metrics can be served there."""
    if port is None:
        return
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    what = f"TCP {address}, port {port}"
    try:
        socket.create_server((address, port), family=family).close()
    except OSError as error:
        checks.warn(what, f"{os.strerror(error.errno or 0)}: no metrics will be served", f"ss -tlpn sport = :{port}")
    else:
        checks.ok(what, "free, for the metrics")


def config_file(checks: Checks, path: Path) -> None:
    """A warning when others can change the configuration, which names the trusted keys."""
    status = path.stat()
    if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
        command = f"chown root {path} && chmod go-w {path}"
        checks.warn("configuration", f"{path}: others can write it, and so choose the trusted keys", command)


def clock(checks: Checks, now_s: float, not_before: int = 0, why: str = "") -> None:
    """Unix seconds of a plausible time. `not_before`: the time of a known event, which `why` names."""
    now = utc(now_s)
    least = max(WRITTEN_AT, not_before)
    if now_s < least:
        since = why if not_before > WRITTEN_AT else "this release was written"
        checks.wrong("clock", f"it says {now}, which is before {since} ({utc(least)})", "timedatectl; chronyc tracking")
    else:
        checks.ok("clock", now)


def utc(at: float) -> str:
    """A moment as text."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))
    except (OverflowError, ValueError, OSError):
        return f"{at:.0f} s"
