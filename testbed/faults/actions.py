"""Makes the faults of a timeline in a running laboratory, and tells the record of each.

`Faults.do` performs a step: wholly, or not at all with an error. Each fault writes one event (source `fault`, kind =
the action) per node or segment, with the moment just before it took effect; a step that found nothing to do writes
`lab` event `nothing_to_do` with the reason, and gives it to whoever asked. When and why is not its business.

Clock steps: Linux has namespaces for CLOCK_MONOTONIC and CLOCK_BOOTTIME but none for the wall
clock, so a step of one node is written to the node's clock file, which the agents add to their
wall clock; FRR and the kernel keep theirs. Monotonic time never steps, as on a real machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from testbed.errors import InputError, LabError
from testbed.faults import steps
from testbed.faults.intruder import Intruder
from testbed.net.laboratory import Laboratory
from testbed.net.node import LabNode
from testbed.net.routers import DKS
from testbed.net.wires import Port

#: Called at every mark: probes that take snapshots.
OnMark = Callable[[str], None]


class Faults:
    """The faults of one laboratory."""

    def __init__(self, lab: Laboratory, on_mark: OnMark = lambda _name: None) -> None:
        self._lab, self._on_mark = lab, on_mark
        self._boots: dict[str, asyncio.Task[None]] = {}
        self._intruder = Intruder(lab)
        self.deployed: Mapping[str, Any] = {}
        """What came of the last step of a deployment."""

    def do(self, step: steps.Step) -> str | None:
        """Do a step now; why there was nothing to do, when there was not. LabError: it cannot be done, and nothing has
        changed. Nodes that take time to boot go on by themselves; see `settle`."""
        nothing = self._do(step)
        if nothing is not None:
            self._lab.record("lab", "lab", "nothing_to_do", action=step.action, reason=nothing)
        return nothing

    def _do(self, step: steps.Step) -> str | None:
        lab, wires = self._lab, self._lab.wires
        match step:
            case steps.PowerOff():
                return self._power(step, self._off)
            case steps.PowerOn():
                return self._power(step, lambda name: self._on(name, step.jitter_s))
            case steps.LinkAdminDown():
                return self._admin(step, up=False)
            case steps.LinkAdminUp():
                return self._admin(step, up=True)
            case steps.LinkCarrierDown():
                return self._wire(step, lambda: wires.carrier(step.segment, False), "already has no carrier")
            case steps.LinkCarrierUp():
                return self._wire(step, lambda: wires.carrier(step.segment, True), "already has its carrier")
            case steps.LinkBlackhole():
                return self._wire(step, lambda: wires.blackhole(step.segment, True), "already drops all packets")
            case steps.LinkHeal():
                return self._wire(step, lambda: wires.blackhole(step.segment, False), "drops no packets")
            case steps.LinkNetem():
                began = time.monotonic_ns()
                wires.set_netem(step.segment, **step.changes)
                self._tell(step, "lab", t=began, segment=step.segment, **step.changes)
                return None
            case steps.Partition():
                sides = {name: number for number, group in enumerate(step.groups, 1) for name in group}
                return self._separate(step, lambda node: sides.get(node, 0), "every segment is already cut this way")
            case steps.Heal():
                return self._separate(step, lambda _node: 0, "no segment is cut")
            case steps.DksKill():
                return self._dks(step, running=False)
            case steps.DksStart():
                return self._dks(step, running=True)
            case steps.ClockStep():
                return self._clock_step(step)
            case steps.PolicyStep():
                outcome = lab.keying.policy_step(step.direction, step.at_once, step.protocol)
                if outcome is None:
                    return f"keying {lab.keying.name} has no policy"
                self.deployed = outcome
                lab.record("lab", "lab", "deploy", direction=step.direction, **outcome)
                return None
            case steps.RouterRemove():
                return self._remove(step)
            case steps.RouterReplace():
                return self._replace(step)
            case steps.LinkAllow():
                return self._allow(step)
            case steps.Administrator():
                return self._administrator(step)
            case steps.Mark():
                lab.record("lab", "lab", "mark", name=step.name)
                self._on_mark(step.name)
                return None
            case _:
                return self._intrude(step)

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

    def _tell(self, step: steps.Step, node: str, **args: Any) -> None:
        """An event of now, or of `t`: a fault's moment is before it is made, for its effects may be seen before its
        call returns."""
        self._lab.record(node, "fault", step.action, **args)

    # -- power

    def _power(self, step: steps.PowerOff | steps.PowerOn, switch: Callable[[str], bool]) -> str | None:
        asked = step.chosen(self._lab.topology)
        there = [name for name in asked if name in self._lab.nodes]
        switched = [name for name in there if switch(name)]
        if switched:
            return None
        if not there:
            return f"keying {self._lab.keying.name} has no {', '.join(asked)}"
        return f"{', '.join(there)}: already {'without power' if isinstance(step, steps.PowerOff) else 'powered'}"

    def _off(self, name: str) -> bool:
        boot = self._boots.pop(name, None)
        if boot is not None:
            boot.cancel()
        if not self._lab.node(name).powered:
            return boot is not None and not boot.done()
        self._lab.record(name, "fault", "power_off")
        self._lab.power_off(name)
        return True

    def _on(self, name: str, jitter_s: float) -> bool:
        under_way = self._boots.get(name)
        if self._lab.node(name).powered or (under_way is not None and not under_way.done()):
            return False
        self.boot(name, jitter_s)
        return True

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
            self._lab.record(name, "fault", "power_on", after_s=wait_s)
        await self._lab.power_on(name)

    # -- links

    def _admin(self, step: steps.LinkAdminDown | steps.LinkAdminUp, *, up: bool) -> str | None:
        ports = [port for port in self._lab.wires.segment(step.segment).ports if step.means(port.node)]
        powered = [port for port in ports if self._lab.node(port.node).powered]
        if not powered:
            return f"{', '.join(port.node for port in ports)}: without power"
        changing = [port for port in powered if port.lit is not up]
        if not changing:
            return f"{', '.join(port.label for port in powered)}: already {_up_or_down(up)}"
        done: list[Port] = []
        for port in changing:
            began = time.monotonic_ns()
            try:
                _set_link(self._lab.node(port.node), port.name, up)
            except LabError:
                for other in done:
                    _set_link(self._lab.node(other.node), other.name, not up)
                    self._lab.wires.interface_lit(other.node, other.name, not up)
                raise
            done.append(port)
            self._tell(step, port.node, t=began, segment=step.segment, ifname=port.name)
            self._lab.wires.interface_lit(port.node, port.name, up)
        return None

    def _wire(self, step: steps.Step, change: Callable[[], bool], otherwise: str) -> str | None:
        segment, began = step.args["segment"], time.monotonic_ns()
        if not change():
            return f"{segment} {otherwise}"
        self._tell(step, "lab", t=began, segment=segment)
        return None

    def _separate(self, step: steps.Step, side: Callable[[str], int], otherwise: str) -> str | None:
        began = time.monotonic_ns()
        parted = self._lab.wires.partition(side)
        for segment in parted:
            self._tell(step, "lab", t=began, segment=segment)
        return None if parted else otherwise

    # -- the key server, clocks, the administrator

    def _dks(self, step: steps.Step, *, running: bool) -> str | None:
        lab = self._lab
        if DKS not in lab.nodes:
            return f"keying {lab.keying.name} has no DKS"
        if not lab.node(DKS).powered:
            return "the DKS's node is without power"
        if lab.dks_running is running:
            return "the DKS already runs" if running else "the DKS does not run"
        self._tell(step, DKS)
        if running:
            lab.start_dks()
        else:
            lab.kill_dks()
        return None

    def _clock_step(self, step: steps.ClockStep) -> str | None:
        names = [name for name in self._lab.nodes if step.node in (name, "all")]
        if not names:
            return f"keying {self._lab.keying.name} has no {step.node}"
        fresh = []
        for name in names:
            path = self._lab.clock_file(name)
            before = float(path.read_text()) if path.exists() else 0.0
            fresh.append((name, path, path.with_name(f".{name}.new")))
            fresh[-1][2].write_text(str(before + step.seconds))
        for name, path, new in fresh:
            new.replace(path)
            self._tell(step, name, seconds=step.seconds)
        return None

    def _remove(self, step: steps.RouterRemove) -> str | None:
        lab, began = self._lab, time.monotonic_ns()
        self._refuse_unpowered(step, "no revocation list")
        nothing = lab.keying.remove_router(step.router, step.hand_to, lab)
        if nothing is None:
            self._tell(step, step.router, t=began, hand_to=step.hand_to)
        return nothing

    def _replace(self, step: steps.RouterReplace) -> str | None:
        lab, began = self._lab, time.monotonic_ns()
        if lab.node(step.router).powered:
            raise InputError(
                f"{step.router} has power", where=step.action, allowed="a router without power",
                next_command=f"lab fault power_off nodes={step.router}",
            )  # fmt: skip
        self._refuse_unpowered(step, "no documents")
        outcome = lab.keying.replace_router(step.router, step.hand_to, lab)
        return self._came(step, outcome, t=began, router=step.router, hand_to=step.hand_to)

    def _allow(self, step: steps.LinkAllow) -> str | None:
        lab, began = self._lab, time.monotonic_ns()
        self._refuse_unpowered(step, "no documents")
        outcome = lab.keying.allow_link(step.segment, step.hand_to, lab)
        return self._came(step, outcome, t=began, segment=step.segment, hand_to=step.hand_to)

    def _administrator(self, step: steps.Administrator) -> str | None:
        lab, began = self._lab, time.monotonic_ns()
        self._refuse_unpowered(step, "nothing")
        outcome = lab.keying.administrator(step.deed, step.hand_to, lab)
        return self._came(step, outcome, t=began, deed=step.deed, hand_to=step.hand_to)

    def _refuse_unpowered(
        self, step: steps.RouterRemove | steps.RouterReplace | steps.LinkAllow | steps.Administrator, takes: str
    ) -> None:
        """InputError when the router that is handed something is without power, and so takes none of it."""
        name = step.hand_to
        if name is not None and not self._lab.node(name).powered:
            raise InputError(f"{name} has no power and is to get {takes}", where=step.action, allowed="another router")

    def _came(self, step: steps.Step, outcome: Mapping[str, Any] | str, **args: Any) -> str | None:
        """Tell what came of a step, or give why there was nothing to do."""
        if isinstance(outcome, str):
            return outcome
        self._tell(step, "lab", **args, **outcome)
        return None

    # -- an intruder; what it has done it tells the record itself

    def _intrude(self, step: steps.Step) -> str | None:
        at = self._intruder
        if step.needs_tap and not at.taps(step.args["segment"]):
            raise InputError(
                f"no intruder is on {step.args['segment']}", where=step.action, allowed="a tap first",
                next_command=f"lab fault tap segment={step.args['segment']}",
            )  # fmt: skip
        match step:
            case steps.Tap():
                return None if at.tap(step.segment) else f"the intruder is already on {step.segment}"
            case steps.Inject():
                at.inject(step.segment, step.frames, step.copies, step.gap_s, step.fresh)
            case steps.Replay():
                at.replay(step.segment, step.tamper)
            case steps.Impersonate():
                at.impersonate(step.segment, step.insider, step.speaker, step.payload)
            case steps.Impostor():
                if not self._lab.keying.dks:
                    return f"keying {self._lab.keying.name} has no agent that speaks IKE"
                at.impostor(step.segment, step.victim, step.router, step.name, step.key)
            case _:
                raise AssertionError(step)
        return None


def _up_or_down(up: bool) -> str:
    return "up" if up else "down"


def _set_link(node: LabNode, interface: str, up: bool) -> None:
    node.net_namespace.set_links({interface: up})
