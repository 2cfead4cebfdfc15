"""What `check` of a program found: each thing that it needs, whether it is as it must be, and what to do where not.

The same readers are asked that the running program uses, so that both say the same. Knows no program's files.
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
"""2026-01-01: no clock that is right says less."""
_PROBE, _OCTETS = "check", 1 << 16
_SOCKET_OCTETS = 107
"""Of a path in sockaddr_un (unix(7)), without the zero behind it."""
SERVICE = "router-keys"
"""What the names of the services' users begin with (packaging/systemd/router-keys.sysusers)."""
LITTLE = 16 << 20
"""Octets of free disk below which there is a warning."""
RAISED = (PolicyError, CorruptRecord, OSError, ValueError, RuntimeError)
"""What readers raise of files and systems that are not as they must be."""


class State(StrEnum):
    """How one thing is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `code`: the exit code that it calls for."""

    what: str
    state: State
    detail: str
    code: int = EXIT_DONE


class Checks:
    """The findings, in the order in which they were made."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def ok(self, what: str, detail: str) -> None:
        """This is as it must be."""
        self.findings.append(Finding(what, State.OK, detail))

    def warn(self, what: str, detail: str, command: str = "") -> None:
        """The program works, and somebody should look."""
        self.findings.append(Finding(what, State.WARNING, _with(detail, command)))

    def wrong(self, what: str, detail: str, command: str = "", code: int = EXIT_STATE) -> None:
        """The program does not do its work like this."""
        self.findings.append(Finding(what, State.WRONG, _with(detail, command), code))

    def tried(self, what: str, job: Callable[[], T], text: Callable[[T], str] | str) -> T | None:
        """The job's result, and a finding: what is `text` of it, or what it raised."""
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
        """0: all may work; 2: the configuration is wrong; 3: something else is."""
        codes = {each.code for each in self.findings}
        return EXIT_USAGE if EXIT_USAGE in codes else max(codes, default=EXIT_DONE)

    def text(self) -> str:
        """A page for people."""
        lines = []
        for each in self.findings:
            first, *rest = each.detail.splitlines() or [""]
            lines_of_it = [] if each.state is State.WRONG else rest  # the rest of it is told as an error
            lines += [f"{each.state:8} {each.what}: {first}", *(f"         {line}" for line in lines_of_it)]
        return "\n".join(lines)

    def show(self, program: str, *, as_json: bool) -> int:
        """Print them, and on standard error what is wrong; the exit code."""
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
    """A folder of this user alone, on a disk that takes what is written."""

    if not path.exists():
        checks.warn("state", f"{path}: not there yet; the first start makes it")
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

    checks.tried("state", probe, f"{path}: {service or 'ours'} alone, and can be written to")
    space(checks, path)


def user_of(path: Path) -> int | None:
    """The service's user who has this state folder to himself, where root looks; None for a folder of anybody else."""
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
        return  # that it is not there is said elsewhere
    free = disk.f_bavail * disk.f_frsize
    if 0 < free < LITTLE:
        checks.warn("disk", f"{path}: {free >> 10} KiB are free", f"df -h {path}")


def keys(
    checks: Checks, identity: Path, policy_server: Path, state: Path
) -> tuple[Ed25519PrivateKey | None, Ed25519PublicKey | None]:
    """A daemon's own key, and that of the Policy Server; None for one that cannot be used."""
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
    """Where a daemon answers and writes, as its configuration says."""

    @property
    def socket(self) -> Path | None:
        """Where it answers commands."""

    @property
    def events(self) -> Path | None:
        """What it appends events to."""

    @property
    def metrics_address(self) -> str:
        """Where it serves metrics."""

    @property
    def metrics_port(self) -> int | None:
        """The same; None: nowhere."""


def doors(checks: Checks, program: str, config: Doors, what: str, bound: Callable[[], Iterable[socket.socket]]) -> None:
    """Where a daemon is reached: its port (`what`, which `bound` opens), socket, metrics and events. What the running
    one has is not opened."""
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
    """The socket that the program answers on: its folder, and whether the kernel takes so long a name (unix(7))."""
    if path is not None and len(os.fsencode(path)) > _SOCKET_OCTETS:
        checks.wrong(
            "socket", f"{path}: {len(os.fsencode(path))} octets, and a socket's name has {_SOCKET_OCTETS} at most"
        )
        return
    out_folder(checks, "socket", path)


def _metrics_port(checks: Checks, address: str, port: int | None) -> None:
    """Whether the metrics can be served there."""
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
    """A warning where others can change the configuration, and with it which keys are used."""
    status = path.stat()
    if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
        command = f"chown root {path} && chmod go-w {path}"
        checks.warn("configuration", f"{path}: others may write it, and with it say whose keys count", command)


def clock(checks: Checks, now_s: float, not_before: int = 0, why: str = "") -> None:
    """Unix seconds that can be. `not_before`: what has happened already, as `why` says."""
    now = utc(now_s)
    least = max(WRITTEN_AT, not_before)
    if now_s < least:
        since = why if not_before > WRITTEN_AT else "this release was written"
        checks.wrong("clock", f"it says {now}, which is before {since} ({utc(least)})", "timedatectl; chronyc tracking")
    else:
        checks.ok("clock", now)


def utc(at: float) -> str:
    """A moment as people read it."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))
    except (OverflowError, ValueError, OSError):
        return f"{at:.0f} s"
