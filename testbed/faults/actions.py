"""Makes the faults of a timeline in a running laboratory, and tells the record of each.

One method per action; each writes one event (source `fault`, kind = the action) per node or
segment, with the moment just before it took effect. When and why is not its business.

Clock steps: Linux has namespaces for CLOCK_MONOTONIC and CLOCK_BOOTTIME but none for the wall
clock, so a step of one node is written to the node's clock file, which the agents add to their
wall clock; FRR and the kernel keep theirs. Monotonic time never steps, as on a real machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from testbed.faults.check import chosen_nodes
from testbed.faults.intruder import Intruder
from testbed.net.laboratory import Laboratory
from testbed.net.routers import DKS
from testbed.net.runner import batch
from testbed.record.plan import Action, Plan, Step

#: Called at every mark: probes that take snapshots.
OnMark = Callable[[str], None]


class Faults:
    """The faults of one laboratory."""

    def __init__(self, lab: Laboratory, plan: Plan, on_mark: OnMark = lambda _name: None) -> None:
        self._lab, self._plan, self._on_mark = lab, plan, on_mark
        self._boots: dict[str, asyncio.Task[None]] = {}
        self._intruder = Intruder(lab)

    def do(self, step: Step) -> None:
        """Do a step now. Nodes that take time to boot go on by themselves; see `settle`."""
        getattr(self, f"_{step.action.value}")(**step.args)

    async def settle(self) -> None:
        """Wait for boots under way; the first error of one is raised."""
        while self._boots:
            await asyncio.gather(*self._boots.values())

    def failed_boot(self) -> BaseException | None:
        """The error of a boot that went wrong, as soon as it has."""
        for task in self._boots.values():
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None

    def _tell(self, action: Action, node: str, **args: Any) -> None:
        """Written before the fault is made: its effects may be seen before its call returns."""
        self._lab.record(node, "fault", action.value, **args)

    # -- power

    def _power_off(self, nodes: Any = (), dks: bool = False) -> None:
        for name in self._present(nodes, dks):
            boot = self._boots.pop(name, None)
            if boot is not None:
                boot.cancel()
            if self._lab.node(name).powered:
                self._tell(Action.POWER_OFF, name)
                self._lab.power_off(name)

    def _power_on(self, nodes: Any = (), dks: bool = False, jitter_s: float = 0.0) -> None:
        for name in self._present(nodes, dks):
            if not self._lab.node(name).powered and name not in self._boots:
                self.boot(name, jitter_s)

    def boot(self, name: str, jitter_s: float, tell: bool = True) -> None:
        """Let a node's power come on after its jitter."""
        wait = self._lab.boot_jitter(name, jitter_s)
        self._boots[name] = self._begin(name, self._boot(name, wait, tell))

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=f"boot-{name}")

        def done(ended: asyncio.Task[None]) -> None:
            failed = not ended.cancelled() and ended.exception() is not None
            if self._boots.get(name) is ended and not failed:
                del self._boots[name]

        task.add_done_callback(done)
        return task

    async def _boot(self, name: str, wait_s: float, tell: bool) -> None:
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if tell:
            self._tell(Action.POWER_ON, name, after_s=wait_s)
        await self._lab.power_on(name)

    def _present(self, nodes: Any, dks: bool) -> list[str]:
        """The nodes meant, without a DKS that this keying does not have."""
        names = chosen_nodes(self._plan, {"nodes": nodes, "dks": dks})
        return [name for name in names if name in self._lab.nodes]

    # -- links

    def _link_admin_down(self, segment: str, side: str | None = None) -> None:
        self._admin(Action.LINK_ADMIN_DOWN, segment, side)

    def _link_admin_up(self, segment: str, side: str | None = None) -> None:
        self._admin(Action.LINK_ADMIN_UP, segment, side)

    def _admin(self, action: Action, segment: str, side: str | None) -> None:
        up = action is Action.LINK_ADMIN_UP
        for port in self._lab.wires.segment(segment).ports:
            if side not in (None, "both", port.node):
                continue
            node = self._lab.node(port.node)
            if not node.powered:
                continue
            self._tell(action, port.node, segment=segment, ifname=port.name)
            batch(
                "ip", [f"link set {port.name} {'up' if up else 'down'}"],
                namespace=node.net_namespace,
            )  # fmt: skip
            self._lab.wires.interface_lit(port.node, port.name, up)

    def _link_carrier_down(self, segment: str) -> None:
        self._tell(Action.LINK_CARRIER_DOWN, "lab", segment=segment)
        self._lab.wires.carrier(segment, False)

    def _link_carrier_up(self, segment: str) -> None:
        self._tell(Action.LINK_CARRIER_UP, "lab", segment=segment)
        self._lab.wires.carrier(segment, True)

    def _link_blackhole(self, segment: str) -> None:
        self._tell(Action.LINK_BLACKHOLE, "lab", segment=segment)
        self._lab.wires.blackhole(segment, True)

    def _link_heal(self, segment: str) -> None:
        self._tell(Action.LINK_HEAL, "lab", segment=segment)
        self._lab.wires.blackhole(segment, False)

    def _link_netem(self, segment: str, **changes: float | None) -> None:
        self._tell(Action.LINK_NETEM, "lab", segment=segment, **changes)
        self._lab.wires.set_netem(segment, **changes)

    def _partition(self, groups: list[list[str]]) -> None:
        sides = {name: number for number, group in enumerate(groups, 1) for name in group}
        self._separate(Action.PARTITION, lambda node: sides.get(node, 0))

    def _heal(self) -> None:
        self._separate(Action.HEAL, lambda _node: 0)

    def _separate(self, action: Action, side: Callable[[str], int]) -> None:
        began = time.monotonic_ns()
        for segment in self._lab.wires.partition(side):
            self._lab.record("lab", "fault", action.value, t=began, segment=segment)

    # -- the key server, clocks, marks

    def _dks_kill(self) -> None:
        if DKS in self._lab.nodes:
            self._tell(Action.DKS_KILL, DKS)
            self._lab.kill_dks()

    def _dks_start(self) -> None:
        if DKS in self._lab.nodes:
            self._tell(Action.DKS_START, DKS)
            self._lab.start_dks()

    def _clock_step(self, node: str, seconds: float) -> None:
        names = list(self._lab.nodes) if node == "all" else [node]
        for name in names:
            if name not in self._lab.nodes:
                continue
            path = self._lab.clock_file(name)
            before = float(path.read_text()) if path.exists() else 0.0
            fresh = path.with_name(f".{name}.new")  # no node's name begins so
            fresh.write_text(str(before + seconds))
            fresh.replace(path)
            self._tell(Action.CLOCK_STEP, name, seconds=seconds)

    def _policy_step(self, direction: str, at_once: int = 1) -> None:
        """The Policy Server takes the next step of a deployment, if all have confirmed the one before."""
        outcome = self._lab.keying.policy_step(direction, at_once)
        if outcome is not None:
            self._lab.record("lab", "lab", "deploy", direction=direction, **outcome)

    def _router_remove(self, router: str, hand_to: str | None = None) -> None:
        self._tell(Action.ROUTER_REMOVE, router, hand_to=hand_to)
        self._lab.keying.remove_router(router, hand_to, self._lab)

    # -- an intruder; what it has done it tells the record itself

    def _tap(self, segment: str) -> None:
        self._intruder.tap(segment)

    def _inject(self, segment: str, **args: Any) -> None:
        self._intruder.inject(segment, **args)

    def _replay(self, segment: str, tamper: bool = False) -> None:
        self._intruder.replay(segment, tamper)

    def _impersonate(self, segment: str, insider: str, speaker: str, payload: str) -> None:
        self._intruder.impersonate(segment, insider, speaker, payload)

    def _impostor(self, segment: str, victim: str, router: str, **args: str) -> None:
        self._intruder.impostor(segment, victim, router, **args)

    def _mark(self, name: str) -> None:
        self._lab.record("lab", "lab", "mark", name=name)
        self._on_mark(name)
