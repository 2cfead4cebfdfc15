"""Routers and hosts in Mininet's own terms: `net['r1'].cmd(...)` and the prompt work.

A node is a network namespace, not a shell: Mininet's shell is started when somebody first
types to the node. What the laboratory itself wants it gets by `run`, with exit codes.
It must not know of wires, faults or keying.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any, ClassVar

from mininet.link import Intf, Link
from mininet.node import Host

from agents.ipsec.nftables import UNTOUCHED, delete_all, generation
from testbed.errors import EnvironmentFailure
from testbed.net.namespace import Namespace
from testbed.net.runner import batch, run
from testbed.topology.resolved import label

_NODE_SYSCTLS: dict[str, str | int] = {
    # MACs are unique by construction: a link-local address need not wait for its DAD.
    "ipv6/conf/all/accept_dad": 0,
    "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/default/accept_ra": 0,
    "ipv6/conf/default/router_solicitations": 0,
    "ipv4/conf/all/rp_filter": 0,
    "ipv4/conf/default/rp_filter": 0,
}
_ROUTER_SYSCTLS: dict[str, str | int] = {
    "ipv4/ip_forward": 1,
    "ipv6/conf/all/forwarding": 1,
    "ipv6/conf/default/forwarding": 1,
    "ipv4/conf/all/ignore_routes_with_linkdown": 1,
    "ipv4/conf/default/ignore_routes_with_linkdown": 1,
    "ipv4/fib_multipath_hash_policy": 1,
    "ipv4/igmp_max_memberships": 1000,
}
_KILL_ATTEMPTS = 2000
#: Routes and rules as a kernel boots with them; a flush of rules spares only the one for `local`.
_FRESH_TABLES = (
    "route flush table all",
    "rule flush",
    "rule add pref 32766 lookup main",
)


class LabNode(Host):  # type: ignore[misc]
    """A node with power: a namespace, its processes, and the folders it lives with."""

    isSetup = True  # Mininet's check for ifconfig: nothing here uses it
    sysctls: ClassVar[dict[str, str | int]] = {}
    unplugged: tuple[str, ...] = ()
    """Its interfaces that are on no segment, beside the loopback."""

    def __init__(self, name: str, *, folder: Path, **params: Any) -> None:
        """`folder`: the laboratory's; the node's own folders are below it."""
        self._ns = Namespace(name)
        self._on = False
        self._retained = folder / "retained" / name
        self._volatile = folder / "volatile" / name
        self._volatile.mkdir(parents=True, exist_ok=True)
        super().__init__(name, **params)
        self._ns.sysctl({**_NODE_SYSCTLS, **self.sysctls})

    # -- Mininet's shell, started late

    def startShell(self, mnopts: str | None = None) -> None:
        """Give the node its pid; the shell waits for the first command."""
        self.pid = self._ns.pid
        self._mnopts = mnopts

    def _popen(self, cmd: list[str], **params: Any) -> Popen[bytes]:
        params.setdefault("env", {**os.environ, **self.shell_words()})
        with self._ns.enter():
            return Popen(cmd, **params)

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        """As Mininet's; starts the shell."""
        if self.shell is None:
            self._start_shell()
        super().sendCmd(*args, **kwargs)

    def cmd(self, *args: Any, **kwargs: Any) -> str | None:
        """As Mininet's: the output as text, without an exit code. For people."""
        if self.shell is None:
            self._start_shell()
        return super().cmd(*args, **kwargs)  # type: ignore[no-any-return]

    def _start_shell(self) -> None:
        self.inNamespace = False
        try:
            super().startShell("-d")
        finally:
            self.inNamespace = True
            self.pid = self._ns.pid

    def shell_words(self) -> dict[str, str]:
        """Words of a shell of this node beside programs, as bash takes functions from its environment: its key server's
        own program, which knows the configuration."""
        at = self._volatile
        return {
            f"BASH_FUNC_{name}%%": f'() {{ command python3 -m agents.{name} "$@" --config {at}/{name}.toml; }}'
            for name in ("lks", "dks")
        }

    def end_shell(self) -> None:
        """End Mininet's shell, if it was started; the next command starts another."""
        shell = self.shell
        if shell is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        self.cleanup()
        self.waiting = False
        self.readbuf = ""

    def terminate(self) -> None:
        """End the shell and let the namespace go."""
        self.end_shell()
        self._ns.close()

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing: addresses come with the power."""
        return {}

    # -- for the laboratory and for keying modes

    @property
    def net_namespace(self) -> Namespace:
        """The node's network namespace."""
        return self._ns

    @property
    def powered(self) -> bool:
        """Whether it has power."""
        return self._on

    @property
    def retained(self) -> Path:
        """The folder that survives a power cycle."""
        return self._retained

    @property
    def volatile(self) -> Path:
        """The folder that does not."""
        return self._volatile

    @contextlib.contextmanager
    def namespace(self) -> Iterator[None]:
        """The calling thread is in the node inside it."""
        with self._ns.enter():
            yield

    def run(self, *argv: str, input: str | None = None, timeout_s: float = 60.0) -> str:
        """The stdout of a command run in the node. CommandFailed on a non-zero exit."""
        return run(argv, namespace=self._ns, input=input, timeout_s=timeout_s).stdout

    # -- power

    def address_lines(self) -> list[str]:
        """The lines for `ip -batch` that bring interfaces up and addresses on."""
        return ["link set lo up"]

    def switch_on(self) -> None:
        """Interfaces up, addresses and static routes on. Programs are started by others."""
        self._on = True
        self._ns.restore_hostname()
        batch("ip", self.address_lines(), namespace=self._ns)

    def switch_off(self) -> None:
        """Kill every process; interfaces down; addresses, routes, SPD and SAD gone."""
        self._on = False
        self.end_shell()
        self.kill_processes()
        interfaces = ["lo", *[str(name) for name in self.nameToIntf], *self.unplugged]
        # Forced: that a table is empty is no reason to stop.
        batch(
            "ip",
            [
                *[f"link set {name} down" for name in interfaces],
                *[f"address flush dev {name}" for name in interfaces],
                *_FRESH_TABLES,
                "rule add pref 32767 lookup default",
                "xfrm state flush",
                "xfrm policy flush",
            ],
            namespace=self._ns,
            force=True,
        )
        batch("ip -6", _FRESH_TABLES, namespace=self._ns, force=True)
        if self._ns.call(generation) not in (UNTOUCHED, None):
            self._ns.call(delete_all)
        for entry in self._volatile.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)

    def kill_processes(self) -> None:
        """SIGKILL to all processes in the namespace but our own, until none is left."""
        own = os.getpid()
        for attempt in range(_KILL_ATTEMPTS):
            left = [pid for pid in self._ns.processes() if pid != own]
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.sched_yield()
            if attempt > 10:
                time.sleep(0.001)
        raise EnvironmentFailure(f"processes of {self.name} survive SIGKILL: {left}")


class LabRouter(LabNode):
    """A node that forwards."""

    sysctls = _ROUTER_SYSCTLS


class LabIntf(Intf):  # type: ignore[misc]
    """An interface that the laboratory has made and addressed; Mininet only knows of it."""

    def __str__(self) -> str:
        """For the prompt's `net` and `links`, where interfaces of many nodes stand together."""
        return label(self.node.name, self.name)

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing to do."""
        return {}


class Wire(Link):  # type: ignore[misc]
    """What joins two interfaces, or one and a switch, as the prompt's `net` and `links` show it."""

    def __init__(self, intf1: LabIntf, intf2: LabIntf) -> None:
        # Link's own constructor would make a veth pair.
        self.intf1, self.intf2 = intf1, intf2
        intf1.link = intf2.link = self

    def status(self) -> str:
        """For the prompt's `links`."""
        return "OK"

    def stop(self) -> None:
        """The namespaces' end takes the interfaces with it."""

    delete = stop


def add_interface(node: LabNode, name: str, address: str | None, prefix: int, mac: str) -> LabIntf:
    """Tell Mininet of an interface of a node."""
    intf = LabIntf(name, node=node, mac=mac, moveIntfFn=lambda *_: None)
    intf.ip, intf.prefixLen = address, prefix
    return intf
