"""The interface of a keying mode to the laboratory, and the registry of modes.

A mode adds lines to FRR's configuration, prepares files before any node starts, and starts and stops its own processes
with the nodes. It sees nodes and the laboratory only through the two protocols below; it must not know how namespaces,
links, faults or records are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from testbed.errors import InputError
from testbed.keying.options import PlanOptions

if TYPE_CHECKING:
    from testbed.topology.resolved import Interface, IPAddress, Router, Topology

_MODES = {
    "none": ("testbed.keying.none", "NoKeying"),
    "native": ("testbed.keying.native", "NativeKeying"),
    "manual": ("testbed.keying.manual", "ManualKeying"),
    "central": ("testbed.keying.agents", "CentralKeying"),
    "central-mgmt": ("testbed.keying.agents", "CentralManagementKeying"),
    "dks-lks": ("testbed.keying.agents", "TakeOverKeying"),
    "lks": ("testbed.keying.agents", "LksKeying"),
}


class AgentProcess(Protocol):
    """A process of a node. It dies with the node's power, without notice."""

    pid: int

    @property
    def running(self) -> bool:
        """True until it has ended."""

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Nothing when it has ended."""

    def terminate(self) -> None:
        """SIGTERM: an orderly end. Does not wait."""


class KeyingNode(Protocol):
    """A router, a host or the DKS, as a keying mode sees it."""

    name: str
    pid: int
    """A process that lives as long as the lab in the node's network namespace: its
    /proc/PID/ns/net stays the same through power cycles."""

    @property
    def powered(self) -> bool:
        """True if the node has power now."""

    @property
    def retained(self) -> Path:
        """The folder that survives a power cycle; unsynced data is lost then."""

    @property
    def volatile(self) -> Path:
        """A folder that is emptied at every power-off: sockets, pid files (/run)."""

    def run(self, *argv: str, input: str | None = None) -> str:
        """Run a command in the node to its end; its stdout. CommandFailed on a non-zero exit."""

    def namespace(self) -> Any:
        """A context manager: the calling thread is in the node's network namespace inside it."""


class KeyingLab(Protocol):
    """The laboratory, as a keying mode sees it."""

    topology: Topology
    folder: Path
    """The folder in which `prepare` wrote; folder/"retained"/NODE is NODE's retained folder."""
    seed: int
    options: PlanOptions
    """`options` of the plan."""

    def node(self, name: str) -> KeyingNode:
        """The router, host or "dks" of this name. InputError when there is none."""

    def events_file(self, node: str) -> Path:
        """Where agents of a node append their events, one JSON object a line, each written
        in one write: {"t": CLOCK_MONOTONIC ns, "node", "kind", ...}. Survives power cycles."""

    def log_file(self, node: str, program: str) -> Path:
        """Where a program's stderr goes; appended to through power cycles."""

    def clock_file(self, node: str) -> Path:
        """A text file with the seconds (float) to add to the node's wall clock. Linux has no
        namespace for CLOCK_REALTIME, so a program honours a clock step by reading this file
        whenever it wants wall time. Absent: 0."""

    def spawn(
        self,
        node: str,
        module: str,
        argv: Sequence[str],
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        code: Path | None = None,
    ) -> AgentProcess:
        """Fork a preloaded Python into the node's network namespace and call `module.main(argv)`; from the folder
        `code`, if that is other code than the laboratory's own.

        Returns as soon as the process exists (milliseconds). Its stderr and stdout go to `log_file(node, name or the
        module's last word)`, and its exit to the record (source "lab", kind "exit"). LAB_NODE, LAB_EVENTS and LAB_CLOCK
        are in its environment.
        """

    def record(self, node: str, source: str, kind: str, **fields: Any) -> None:
        """Write one event with the present time to the run's record."""


@dataclass(frozen=True)
class Look:
    """How a mode is drawn: colour, marker and line style, in matplotlib's words. Distinct in greyscale, too."""

    color: str
    marker: str
    line: Any


class Keying:
    """A keying mode. The methods do nothing here; a mode overrides what it needs.

    Order of calls: `prepare` once, with no node powered and the retained folders mounted;
    `start_dks` if `dks` is set; then `start_node` for each router when its power comes on,
    its interfaces up and addressed, and `wait_node` before its FRR daemons start. At power-off every
    process of the node has been killed and its SPD and SAD are gone when `stop_node` runs.
    """

    name: ClassVar[str]
    #: Each router (and the DKS) gets a retained folder on a disk of its own that loses unsynced data.
    retained_disks: ClassVar[bool] = False
    #: A host "dks" is built.
    dks: ClassVar[bool] = False
    #: The DKS and all routers have an interface on a management network; otherwise the DKS is in-band.
    management: ClassVar[bool] = False
    #: Routing packets go through the kernel's IPsec.
    ipsec: ClassVar[bool] = False
    #: Every router has a Local Key Server.
    local_key_server: ClassVar[bool] = False
    #: A router visits the DKS on the schedule of its policy, not because it boots.
    schedules_visits: ClassVar[bool] = False
    #: Its look in figures; None: a look from the common list.
    look: ClassVar[Look | None] = None
    #: The options of a run that it reads, in addition to the engine's.
    options: ClassVar[type[PlanOptions]] = PlanOptions
    #: Modules that the nursery imports before it forks agents.
    preload: ClassVar[tuple[str, ...]] = ()

    def frr_global_lines(self, topology: Topology, router: Router, daemon: str) -> list[str]:
        """Lines for the top level of a daemon's configuration (key chains)."""
        return []

    def frr_interface_lines(self, topology: Topology, interface: Interface, daemon: str) -> list[str]:
        """Lines for `interface NAME` in a daemon's configuration."""
        return []

    def prepare(self, topology: Topology, folder: Path, seed: int, options: PlanOptions) -> None:
        """Write keys, documents and configuration files below `folder`. `options`: an instance of the mode's own."""

    def policy_step(self, direction: str, at_once: int, protocol: str) -> Mapping[str, Any] | None:
        """Try the next step of a deployment, "up" or "back", of one protocol or "all"; the result. None: this mode has
        no policy."""
        return None

    def start_dks(self, lab: KeyingLab) -> None:
        """Start the key server on the node "dks", which has power, addresses and routes."""

    def stop_dks(self, lab: KeyingLab) -> None:
        """After the DKS was killed or lost power: forget it."""

    def start_node(self, node: KeyingNode, lab: KeyingLab) -> None:
        """A router's power came on: start its agents, load its files."""

    async def wait_node(self, node: KeyingNode, lab: KeyingLab) -> None:
        """Return when the router's routing daemons may start, at the latest after a bounded time."""

    def key_ledger(self, lab: KeyingLab) -> Mapping[str, int] | None:
        """The highest generation of each group of keys, from the key server's ledger. None: the mode has none."""
        return None

    def remove_router(self, router: str, hand_to: str | None, lab: KeyingLab) -> str | None:
        """The administrator revokes a router's key: the DKS gets the list or, with `hand_to`, that router instead. The
        reason if there was nothing to do; a mode without routers' own keys cannot revoke one."""
        return f"keying {self.name} has no key of a router's own"

    def dks_address(self, topology: Topology) -> IPAddress:
        """The address at which routers reach the DKS, in a mode that has one."""
        own = topology.dks
        return own.management.address if self.management else own.address_of(topology.family)

    def replace_router(self, router: str, hand_to: str | None, lab: KeyingLab) -> Mapping[str, Any] | str:
        """Another machine with a key of its own replaces a router without power: an administrator with a delegated key
        signs the documents, and the DKS gets them or, with `hand_to`, that router instead. The routers with new
        documents, or the reason if there was nothing to do; a mode without routers' own keys has none to replace."""
        return f"keying {self.name} has no key of a router's own"

    def allow_link(self, segment: str, hand_to: str | None, lab: KeyingLab) -> Mapping[str, Any] | str:
        """An administrator allows the routers of a link to be neighbours: the DKS gets the documents or, with
        `hand_to`, that router instead. The routers with new documents, or the reason if there was nothing to do; a mode
        without policy forbids nothing."""
        return f"keying {self.name} has no policy"

    def administrator(self, deed: str, hand_to: str, lab: KeyingLab) -> Mapping[str, Any] | str:
        """An administrator with a delegated key signs a document of this router without the Policy Server and gives it
        to the router ("sign"), or is dismissed, and the router gets the list that says so ("dismiss"). The result, or
        the reason if there was nothing to do."""
        return f"keying {self.name} has no policy"

    def ospf_key(self, router: str) -> tuple[int, bytes] | None:
        """Number and octets of the key with which this router's ospfd authenticates (RFC 5709, HMAC-SHA-256), if
        any."""
        return None

    def stop_node(self, node: KeyingNode, lab: KeyingLab) -> None:
        """A router lost its power: forget its processes."""


def keying_names() -> tuple[str, ...]:
    """The names of the modes, in the order of the reports."""
    return tuple(_MODES)


def keying(name: str) -> Keying:
    """The mode of this name. InputError names the existing modes."""
    if name not in _MODES:
        raise InputError(f"there is no keying mode {name!r}", where="keying", allowed=", ".join(_MODES))
    module, attribute = _MODES[name]
    return getattr(import_module(module), attribute)()  # type: ignore[no-any-return]


class _Registry(Mapping[str, type[Keying]]):
    """The classes of the modes by name, each imported on first use."""

    def __getitem__(self, name: str) -> type[Keying]:
        module, attribute = _MODES[name]
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(_MODES)

    def __len__(self) -> int:
        return len(_MODES)


KEYINGS: Mapping[str, type[Keying]] = _Registry()


def modes(has: Callable[[type[Keying]], bool]) -> tuple[str, ...]:
    """The names of the modes with a trait, such as `modes(lambda mode: mode.dks)`, in the order of the reports."""
    return tuple(name for name, mode in KEYINGS.items() if has(mode))
