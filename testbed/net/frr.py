"""FRR on a router: its configuration from templates, its daemons from start to kill.

The daemons are unmodified and run as Debian's package runs them (user frr, one configuration
file each), except that each router's sockets are in /run/frr/SPACE (`-N`), SPACE being its name. It must not know
why a router starts or stops, nor of keys: the keying mode hands it lines.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.errors import EnvironmentFailure
from testbed.net.disk import writable
from testbed.net.runner import Daemon
from testbed.net.vty import Vty, answers
from testbed.topology.resolved import RECEIVERS

if TYPE_CHECKING:
    from jinja2 import Environment

    from testbed.net.namespace import Namespace
    from testbed.topology.resolved import Interface, Router, Topology

_DAEMONS = Path("/usr/lib/frr")
_SOCKETS = Path("/run/frr")
_STATE = Path("/var/lib/frr")
_CONNECT_PAUSE_S = 0.002
_IGMP_ANSWER_DS = 10
"""Receivers answer a query within a second (RFC 9776 has 10 s, in tenths of a second as here), so that a router that
boots knows them before it knows its neighbours, and IGMP is no part of what is measured."""

_AREA_WORDS = {
    "stub": "stub",
    "totally-stubby": "stub no-summary",
    "nssa": "nssa",
    "totally-nssa": "nssa no-summary",
}

#: (interface, daemon) → lines for its `interface` block
InterfaceLines = Callable[["Interface", str], list[str]]
#: daemon → lines for the top level
GlobalLines = Callable[[str], list[str]]


@dataclass(frozen=True)
class Throttle:
    """OSPF's brakes. None and empty leave FRR's own defaults."""

    spf: tuple[int, ...]
    """`timers throttle spf`: first delay, hold and longest hold, milliseconds."""
    lsa_ms: int | None
    lsa_arrival_ms: int | None


def daemons_of(topology: Topology, *, by_hand: bool = False) -> tuple[str, ...]:
    """The daemons that a router of this topology runs, in the order of their start.

    `by_hand`: somebody may configure the router in vtysh. Of that alone mgmtd takes a part, the interfaces.
    """
    names = ["mgmtd", "zebra"] if by_hand else ["zebra"]
    if topology.ospf.v2:
        names.append("ospfd")
    if topology.ospf.v3:
        names.append("ospf6d")
    if topology.pim is not None:
        names += ["pimd", "pim6d"] if topology.pim.ipv6 else ["pimd"]
    return tuple(names)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )


def throttle_of(topology: Topology) -> Throttle:
    """The topology's brakes as FRR words them."""
    asked = topology.ospf.throttle
    if asked is None:
        return Throttle((), None, None)
    return Throttle(
        spf=(asked.spf_delay_ms, asked.spf_hold_ms, asked.spf_max_ms),
        lsa_ms=asked.lsa_all_ms,
        lsa_arrival_ms=asked.lsa_min_arrival_ms,
    )


def configuration(
    topology: Topology,
    router: Router,
    daemon: str,
    global_lines: list[str],
    interface_lines: Callable[[Interface], list[str]],
    log: Path,
) -> str:
    """The text of one daemon's configuration file. It logs to `log`, with microseconds."""
    points: list[dict[str, Any]] = []
    if topology.pim is not None:
        address: object = topology.pim.rp_address
        if daemon == "pim6d":
            address = topology.routers[topology.pim.rp].loopback6.ip
        points = [{"address": address, "group": "ff00::/8" if daemon == "pim6d" else "224.0.0.0/4"}]
    areas = [interface.area for interface in router.interfaces]
    return (
        _templates()
        .get_template(f"{daemon}.conf.j2")
        .render(
            router=router,
            log=log,
            elections=elections_of(log),
            ospf=topology.ospf,
            throttle=throttle_of(topology),
            area_words=_AREA_WORDS,
            loopback_area="0.0.0.0" if not areas or "0.0.0.0" in areas else areas[0],
            rendezvous_points=points,
            receivers=RECEIVERS,
            igmp_answer_ds=_IGMP_ANSWER_DS,
            global_lines=global_lines,
            lines=interface_lines,
        )
    )


def elections_of(log: Path) -> Path:
    """Where pimd writes whom it takes for the designated router: a debug message, which its log is without."""
    return log.with_suffix(".elections")


@cache
def _frr_user() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam("frr")
    except KeyError:
        raise EnvironmentFailure("there is no user frr", allowed="the package frr") from None
    return entry.pw_uid, entry.pw_gid


class FrrInstance:
    """The FRR of one router."""

    def __init__(
        self, topology: Topology, router: Router, folder: Path, log_folder: Path, *, by_hand: bool = False
    ) -> None:
        self._router = router.name
        # FRR allows no dots in the name of a space; a comma stands in no router's name.
        self._space = router.name.replace(".", ",")
        self.daemons = daemons_of(topology, by_hand=by_hand)
        self._for_mgmtd: socket.socket | None = None
        self._configuration = folder / "frr" / self._space
        self._logs = log_folder / router.name
        self._running: dict[str, Daemon] = {}
        self._starts = 0

    def configure(
        self,
        topology: Topology,
        router: Router,
        global_lines: GlobalLines,
        interface_lines: InterfaceLines,
    ) -> None:
        """Write the configuration files, readable by frr only: they may hold keys."""
        writable(_STATE)
        self._folder(_STATE / self._space, 0o755)
        self._folder(self._configuration, 0o750)
        self._folder(self._logs, 0o755)
        uid, gid = _frr_user()
        for daemon in self.daemons:
            if daemon == "mgmtd":
                continue
            path = self._configuration / f"{daemon}.conf"
            text = configuration(
                topology,
                router,
                daemon,
                global_lines(daemon),
                partial(_for_daemon, interface_lines, daemon),
                self.log(daemon),
            )
            path.write_text(text, encoding="utf-8")
            os.chmod(path, 0o640)
            os.chown(path, uid, gid)

        # vtysh would complain of missing files in /etc/frr.
        shell = self._configuration / "vtysh.conf"
        shell.write_text("no service integrated-vtysh-config\n", encoding="utf-8")
        os.chown(shell, uid, gid)

    def vtysh(self, *arguments: str) -> list[str]:
        """The command that opens vtysh on this router."""
        return ["vtysh", "-N", self._space, "--config_dir", str(self._configuration.parent), *arguments]

    async def start(self, namespace: Namespace) -> None:
        """Start all daemons. They are ready when `ready` says so.

        Stops in the middle when `forget` comes in between: the power went again.
        """
        self._folder(_SOCKETS / self._space, 0o755)
        self._starts = start = self._starts + 1
        if "mgmtd" not in self.daemons:
            self._stand_in_for_mgmtd()
        for daemon in self.daemons:
            if self._starts != start:
                return
            argv = [
                str(_DAEMONS / daemon), "-N", self._space, "-u", "frr", "-g", "frr",
                "-P", "0", "-A", "127.0.0.1",
            ]  # fmt: skip
            if daemon == "mgmtd":  # takes no configuration file
                argv += ["--log", f"file:{self.log(daemon)}", "--log-level", "informational"]
            else:
                argv += ["-f", str(self._configuration / f"{daemon}.conf")]
            self._running[daemon] = Daemon(argv, namespace=namespace, log=self._logs / f"{daemon}.out")
            if daemon in ("mgmtd", "zebra"):
                await self._wait_for(daemon, start)

    def _stand_in_for_mgmtd(self) -> None:
        """A socket where zebra looks for mgmtd, which nobody reads: without one zebra tries anew every 10 ms."""
        path = _SOCKETS / self._space / "mgmtd_be.sock"
        self._for_mgmtd = socket.socket(socket.AF_UNIX)
        self._for_mgmtd.bind(str(path))
        self._for_mgmtd.listen()
        os.chown(path, *_frr_user())

    async def _wait_for(self, daemon: str, start: int, timeout_s: float = 30.0) -> None:
        """zebra after mgmtd, the others after zebra: else they wait for a retry timer."""
        end = time.monotonic() + timeout_s
        while self._starts == start and not answers(self.vty_path(daemon)):
            self._check(daemon)
            if time.monotonic() > end:
                raise EnvironmentFailure(
                    f"{daemon} of {self._router} did not answer within {timeout_s} s",
                    next_command=f"read {self._logs / daemon}.out",
                )
            await asyncio.sleep(_CONNECT_PAUSE_S)

    def _check(self, daemon: str) -> None:
        code = self._running[daemon].code
        if code is not None:
            tail = (self._logs / f"{daemon}.out").read_text(errors="replace")[-500:]
            raise EnvironmentFailure(f"{daemon} of {self._router} ended with code {code}: {tail.strip()}")

    def ready(self) -> bool:
        """Whether every daemon answers. EnvironmentFailure when one has ended by itself."""
        if any(daemon not in self._running for daemon in self.daemons):
            return False
        for daemon in self.daemons:
            self._check(daemon)
        return all(answers(self.vty_path(daemon)) for daemon in self.daemons)

    def ended(self) -> dict[str, int]:
        """Daemons that ended although nobody killed them, and their codes."""
        return {name: daemon.code for name, daemon in self._running.items() if daemon.code is not None}

    def forget(self) -> None:
        """The power went: reap what was killed."""
        self._starts += 1
        for daemon in self._running.values():
            daemon.kill()
        self._running.clear()
        if self._for_mgmtd is not None:
            self._for_mgmtd.close()
        folder = _SOCKETS / self._space
        if folder.is_dir():
            for entry in folder.iterdir():
                entry.unlink(missing_ok=True)

    def vty_path(self, daemon: str) -> Path:
        """The socket that a daemon takes commands on."""
        return _SOCKETS / self._space / f"{daemon}.vty"

    def vty(self, daemon: str) -> Vty:
        """A connection to a daemon. VtyError when it does not answer."""
        return Vty(self.vty_path(daemon))

    def log(self, daemon: str) -> Path:
        """The daemon's log, appended to through power cycles."""
        return self._logs / f"{daemon}.log"

    @staticmethod
    def _folder(path: Path, mode: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        os.chmod(path, mode)
        os.chown(path, *_frr_user())


def _for_daemon(lines: InterfaceLines, daemon: str, interface: Interface) -> list[str]:
    return lines(interface, daemon)
