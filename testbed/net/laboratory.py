"""The laboratory: a resolved topology made of namespaces, wires and nodes, and their power.

It is what a keying mode, a fault and a probe get to see of the network (`KeyingLab` in
`testbed.keying.base`). It must not know of timelines, nor of what is done with the record.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import mininet.net
from mininet.net import Mininet

from testbed import owned
from testbed.errors import EnvironmentFailure, InputError
from testbed.keying.base import Keying
from testbed.keying.options import PlanOptions
from testbed.net.disk import Disk, make_images
from testbed.net.frr import FrrInstance
from testbed.net.names import Names
from testbed.net.node import LabNode
from testbed.net.processes import Agent, Nursery
from testbed.net.receivers import Receivers
from testbed.net.routers import DKS, FrrRouter, LabHost, LanSwitch, connect
from testbed.net.wires import Netem, Port, Wires, WireSegment
from testbed.record.writer import Recorder
from testbed.topology.resolved import DEFAULT_MTU, IPAddress, Topology

MANAGEMENT = "management"
_READY_TIMEOUT_S = 120.0
_READY_PAUSE_S = 0.005

# Mininet would raise the limit of open files to 16384 and then close every one at each start
# of a shell: 0.8 s a node.
mininet.net.fixLimits = lambda: None


class Laboratory:
    """A built network. `build` first, then power and faults, `close` at the end."""

    def __init__(
        self,
        topology: Topology,
        keying: Keying,
        *,
        seed: int,
        options: PlanOptions | None = None,
        record: Recorder,
        folder: Path = Path("/run/lab"),
        by_hand: bool = False,
        nursery: Nursery | None = None,
    ) -> None:
        """`folder`: in memory; logs and events are below it, and the nodes' own folders. `by_hand`: somebody may
        configure the routers in vtysh. `nursery`: of the keying's agents, where it was started before."""
        self.topology, self.keying = topology, keying
        self.seed, self.options = seed, options or keying.options()
        self.recorder = record
        self.folder = folder
        self.by_hand = by_hand
        self.wires: Wires
        self.net: Mininet
        self.nursery = nursery
        self.receivers: Receivers | None = None
        self.on_nursery: Callable[[Nursery], None] = lambda _nursery: None
        self._nodes: dict[str, LabNode] = {}
        self._disks: dict[str, Disk] = {}
        self._names: Names | None = None
        self._power_ons: dict[str, int] = {}
        self.dks_running = False
        self._built = False

    # -- building

    def build(self) -> None:
        """Make everything; nothing has power afterwards. EnvironmentFailure, CommandFailed.

        What an earlier laboratory left in the folder is removed.
        """
        owned.fresh(self.folder, str(self.folder))
        for name in ("logs", "events", "clock", "retained", "volatile", "frr"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        # FRR's user passes through; the files themselves are not for everyone.
        os.chmod(self.folder, 0o755)
        if self.nursery is not None or self.keying.preload:
            self._begin_nursery()
        self.wires = Wires()
        self._built = True
        self.net = Mininet(topo=None, build=False, controller=None)
        self._make_nodes()
        self._names = Names(self.topology, self._dks_address(), self.folder)
        self._make_wires()
        self._make_disks()
        self.keying.prepare(self.topology, self.folder, self.seed, self.options)
        for router in self.routers:
            router.configure_frr(self.topology, self.keying)

    def _make_nodes(self) -> None:
        for name, router in self.topology.routers.items():
            self._add(name, FrrRouter, topology=self.topology)
            self.router(name).frr = FrrInstance(
                self.topology, router, self.folder, self.folder / "logs", by_hand=self.by_hand
            )
        for name, host in self.topology.hosts.items():
            where = {"gateway": host.gateway, "interface": host.interface, "family": self.topology.family}
            self._add(name, LabHost, address=host.ipv4, **where)
        if self.keying.dks:
            self._add_dks()

    def _add(self, name: str, kind: type[LabNode], **params: Any) -> None:
        self._nodes[name] = self.net.addHost(name, cls=kind, folder=self.folder, **params)

    def _add_dks(self) -> None:
        dks = self.topology.dks
        if self.keying.management:
            address = IPv4Interface(f"{dks.management.address}/{dks.management.subnet.prefixlen}")
            self._add(DKS, LabHost, address=address, gateway=None, interface="dks-mgmt")
            for name, interface in dks.management.routers.items():
                self.router(name).management = (interface.name, interface.ipv4)
        else:
            where = {"gateway": dks.gateway, "interface": dks.interface, "family": self.topology.family}
            self._add(DKS, LabHost, address=dks.ipv4, **where)

    def _dks_address(self) -> IPAddress | None:
        return self.keying.dks_address(self.topology) if DKS in self._nodes else None

    def _make_wires(self) -> None:
        built: list[WireSegment] = []
        for name, segment in self.topology.segments.items():
            members = [
                (node, interface)
                for node, interface in segment.members
                if node in self._nodes and not (node == DKS and self.keying.management)
            ]
            ports = [
                Port(
                    node,
                    interface,
                    self._mac(node, interface),
                    self._nodes[node].net_namespace,
                    mtu=self._mtu(node, interface),
                )
                for node, interface in members
            ]
            netem = Netem(
                delay_ms=segment.delay_ms,
                jitter_ms=segment.jitter_ms,
                loss_percent=segment.loss_percent,
                rate_mbps=segment.bandwidth_mbps,
            )
            built.append(WireSegment(name, segment.kind == "p2p", ports, netem))
        if self.keying.dks and self.keying.management:
            built.append(self._management_segment())
        self.wires.build(built)
        for segment_built in built:
            connect(self.net, self._nodes, segment_built, LanSwitch)
        if self.topology.pim is not None:
            self.receivers = Receivers({each.name: each.net_namespace for each in self.routers if each.multicast})

    def _management_segment(self) -> WireSegment:
        management = self.topology.dks.management
        ports = [Port(DKS, "dks-mgmt", "02:fe:00:00:00:01", self._nodes[DKS].net_namespace)]
        for number, (name, interface) in enumerate(management.routers.items(), 2):
            mac = f"02:fe:00:00:{number >> 8:02x}:{number & 255:02x}"
            ports.append(Port(name, interface.name, mac, self._nodes[name].net_namespace))
        return WireSegment(MANAGEMENT, False, ports, Netem())

    def _mtu(self, node: str, interface: str) -> int:
        router = self.topology.routers.get(node)
        return DEFAULT_MTU if router is None else router.interface(interface).mtu

    def _mac(self, node: str, interface: str) -> str:
        router = self.topology.routers.get(node)
        if router is not None:
            for candidate in router.interfaces:
                if candidate.name == interface:
                    return str(candidate.mac)
        # Hosts: any address that is the same in each run and nobody else's.
        number = sorted([*self.topology.hosts, DKS]).index(node)
        return f"02:ff:00:00:{number >> 8:02x}:{number & 255:02x}"

    def _make_disks(self) -> None:
        if not self.keying.retained_disks:
            for node in self._nodes.values():
                node.retained.mkdir(parents=True, exist_ok=True)
            return
        names = [*self.topology.routers, *([DKS] if self.keying.dks else [])]
        images = [self.folder / "disks" / f"{name}.ext4" for name in names]
        make_images(images, self.options.retained_mib)
        for name, image in zip(names, images, strict=True):
            disk = Disk(image, self._nodes[name].retained)
            disk.mount()
            self._disks[name] = disk

    # -- nodes

    @property
    def nodes(self) -> Mapping[str, LabNode]:
        """All nodes by name."""
        return self._nodes

    @property
    def routers(self) -> list[FrrRouter]:
        """The routers."""
        return [node for node in self._nodes.values() if isinstance(node, FrrRouter)]

    def node(self, name: str) -> LabNode:
        """The node of this name. InputError when there is none."""
        try:
            return self._nodes[name]
        except KeyError:
            raise InputError(f"there is no node {name!r}", allowed=", ".join(sorted(self._nodes))) from None

    def router(self, name: str) -> FrrRouter:
        """The router of this name. InputError when there is none."""
        node = self.node(name)
        if not isinstance(node, FrrRouter):
            raise InputError(f"{name!r} is not a router")
        return node

    # -- power

    async def power_on(self, name: str) -> None:
        """Give a node power: disk, interfaces, addresses, its agents, then FRR.

        Returns when FRR's daemons have been started; `ready` tells when they answer.
        """
        node = self.node(name)
        if node.powered:
            return
        if name in self._disks:
            self._disks[name].mount()
        node.switch_on()
        self.wires.set_lit(name, node.nameToIntf, True)
        if name == DKS:
            self.start_dks()
        if isinstance(node, FrrRouter):
            self.keying.start_node(node, self)
            await self.keying.wait_node(node, self)
            await node.frr.start(node.net_namespace)

    def power_off(self, name: str) -> None:
        """Take a node's power: what it had not fsynced is lost, its neighbours lose their carrier."""
        node = self.node(name)
        if not node.powered:
            return
        disk = self._disks.get(name)
        if disk is not None:
            disk.cut()
        node.switch_off()
        self.wires.set_lit(name, node.nameToIntf, False)
        if isinstance(node, FrrRouter):
            node.frr.forget()
            self.keying.stop_node(node, self)
        if name == DKS and self.dks_running:
            self.dks_running = False
            self.keying.stop_dks(self)
        if self.nursery is not None:
            self.nursery.collect()
        if disk is not None:
            disk.unmount()

    def boot_jitter(self, name: str, longest_s: float) -> float:
        """How long a node takes longer than the quickest: the same for a seed, node and reboot."""
        count = self._power_ons[name] = self._power_ons.get(name, 0) + 1
        return random.Random(f"{self.seed}/{name}/boot/{count}").uniform(0.0, longest_s)

    async def ready(self, names: Iterable[str], timeout_s: float = _READY_TIMEOUT_S) -> None:
        """Wait until every daemon of these routers answers. EnvironmentFailure when too late."""
        left = [self.router(name) for name in names]
        end = asyncio.get_running_loop().time() + timeout_s
        while left:
            left = [router for router in left if not router.frr.ready()]
            if left:
                if asyncio.get_running_loop().time() > end:
                    late = ", ".join(router.name for router in left)
                    raise EnvironmentFailure(f"FRR is not ready within {timeout_s} s on {late}")
                await asyncio.sleep(_READY_PAUSE_S)

    # -- the key server

    def start_dks(self) -> None:
        """Start the key server's program, if the keying has one and its node has power."""
        if not self.keying.dks or self.dks_running or not self.node(DKS).powered:
            return
        self.dks_running = True
        self.keying.start_dks(self)

    def kill_dks(self) -> None:
        """SIGKILL to every process of the key server's node, which keeps its power."""
        if not self.dks_running:
            return
        self.dks_running = False
        self.node(DKS).kill_processes()
        self.keying.stop_dks(self)

    # -- what a keying mode asks for

    def events_file(self, node: str) -> Path:
        """Where a node's agents append their events."""
        return self.folder / "events" / f"{node}.jsonl"

    def log_file(self, node: str, program: str) -> Path:
        """Where a program of a node writes its stderr."""
        path = self.folder / "logs" / node / f"{program}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def clock_file(self, node: str) -> Path:
        """Seconds to add to a node's wall clock."""
        return self.folder / "clock" / node

    def spawn(
        self,
        node: str,
        module: str,
        argv: Sequence[str],
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        code: Path | None = None,
    ) -> Agent:
        """Fork an agent from the nursery into a node."""
        nursery = self.nursery
        if nursery is None:
            nursery = self._begin_nursery()
            self.on_nursery(nursery)
        title = name or module.split(".")[1 if module.count(".") else 0]
        return nursery.spawn(
            node=node,
            namespace_pid=self.node(node).pid,
            module=module,
            argv=argv,
            name=title,
            log=self.log_file(node, title),
            code=code,
            env={
                "LAB_NODE": node,
                "LAB_EVENTS": str(self.events_file(node)),
                "LAB_CLOCK": str(self.clock_file(node)),
                **(env or {}),
            },
        )

    def _begin_nursery(self) -> Nursery:
        if self.nursery is None:
            self.nursery = Nursery(self.keying.preload)
        self.nursery.write_to(self.folder / "logs" / "nursery.log")
        self.nursery.on_exit = self._agent_ended
        return self.nursery

    def record(self, node: str, source: str, kind: str, **fields: Any) -> None:
        """Write one event of now into the record."""
        self.recorder(node, source, kind, **fields)

    def _agent_ended(self, agent: Agent) -> None:
        expected = agent.status is not None and agent.status < 0
        self.record(agent.node, "lab", "exit", program=agent.name, status=agent.status, killed=expected)

    # -- the end

    def close(self) -> None:
        """End every process, let the namespaces go, and remove the folder."""
        for node in self._nodes.values():
            if node.powered:
                node.kill_processes()
            if isinstance(node, FrrRouter):
                node.frr.forget()
        for disk in self._disks.values():
            if disk.mounted:
                disk.unmount()
        if self.nursery is not None:
            self.nursery.close()
        if self._names is not None:
            self._names.close()
        for node in self._nodes.values():
            node.terminate()
        if self.receivers is not None:
            self.receivers.close()
        if self._built:
            self.wires.close()
        owned.remove(self.folder)
