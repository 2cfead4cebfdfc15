"""Plays one plan in a laboratory, from nothing to the written record.

Everything happens in one event loop, in the order of the timeline; every wait has a bound.
In virtual time waiting costs nothing. It must not know what an experiment asks.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from testbed.errors import EnvironmentFailure, LabError
from testbed.faults.actions import Faults
from testbed.faults.check import check_plan
from testbed.inside.observe import Observers
from testbed.keying.base import keying
from testbed.net.laboratory import Laboratory
from testbed.net.processes import Nursery
from testbed.record.live import LIVE, Live
from testbed.record.manifest import write_manifest
from testbed.record.plan import Plan
from testbed.record.writer import Recorder

DONE, FAILED = "done", "failed"


class Engine:
    """One run of one plan."""

    def __init__(self, plan: Plan, run_folder: Path, *, by_hand: bool = False, nursery: Nursery | None = None) -> None:
        """InputError when the plan cannot be played on its topology. `by_hand`, `nursery`: as of Laboratory."""
        check_plan(plan)
        self.plan = plan
        self.run_folder = run_folder
        self.recorder = Recorder()
        self._live = Live(run_folder / LIVE, self.recorder) if plan.live else None
        self.lab = Laboratory(
            plan.topology,
            keying(plan.keying),
            seed=plan.seed,
            options=plan.options,
            record=self.recorder,
            by_hand=by_hand,
            nursery=nursery,
        )
        self.observers: Observers
        self.faults: Faults
        self._started_ns = time.monotonic_ns()
        self.crashed: set[tuple[str, str]] = set()

    async def start(self) -> None:
        """Build, watch, give everything power, and wait until every router is ready."""
        self.recorder("lab", "lab", "run_start", experiment=self.plan.experiment,
                      keying=self.plan.keying, seed=self.plan.seed)  # fmt: skip
        self.lab.build()
        self.observers = Observers(self.lab, self.plan, self.run_folder)
        self.observers.start()
        self.faults = Faults(self.lab, self.observers.snapshot)
        jitter = self.plan.options.boot_jitter_s
        others = [name for name in self.lab.nodes if name not in self.plan.topology.routers]
        for name in others:
            self.faults.boot(name, 0.0, tell=False)
        for name in self.plan.topology.routers:
            self.faults.boot(name, jitter, tell=False)
        await self.faults.settle()
        await self.lab.ready(self.plan.topology.routers)
        self.recorder("lab", "lab", "ready")
        self.tell()

    def tell(self) -> None:
        """Tell whoever watches what has happened since the last time."""
        if self._live is not None:
            self._live.tell(self.observers.written(), self.observers.losses_so_far())

    async def play(self) -> None:
        """Play the timeline, to the end of the plan's duration."""
        loop = asyncio.get_running_loop()
        zero = loop.time()
        self.observers.start_flows(zero)
        for step in sorted(self.plan.timeline, key=lambda step: step.at_s):
            await self._until(zero + step.at_s)
            self.faults.do(step)
        await self._until(zero + self.plan.duration_s)

    async def _until(self, moment: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            failure = self.faults.failed_boot() or self.observers.failure()
            if failure is not None:
                raise failure
            self._look_for_crashes()
            self.observers.look()
            self.tell()
            left = moment - loop.time()
            if left <= 0:
                return
            # In pieces, so that a daemon that died is told of near its time.
            await asyncio.sleep(min(left, 10.0))

    def _look_for_crashes(self) -> None:
        for router in self.lab.routers:
            for daemon, code in router.frr.ended().items():
                if (router.name, daemon) not in self.crashed:
                    self.crashed.add((router.name, daemon))
                    self.recorder(router.name, "lab", "exit", program=daemon, status=code, killed=False)

    async def finish(self, status: str, reason: str | None = None) -> None:
        """End the probes, write record, logs and manifest. Also after a failure."""
        if hasattr(self, "observers"):
            await self.observers.stop()
            self.tell()
            self.observers.gather()
        if reason is None:
            self.recorder("lab", "lab", "run_end", status=status)
        else:
            self.recorder("lab", "lab", "run_end", status=status, reason=reason)
        count = self.recorder.write(self.run_folder / "record.jsonl")
        logs = self.lab.folder / "logs"
        if logs.is_dir():
            shutil.copytree(logs, self.run_folder / "logs", dirs_exist_ok=True, copy_function=shutil.copyfile)
        for source, name in ((self.lab.folder / "frr", "frr"),):
            if source.is_dir():
                shutil.copytree(
                    source, self.run_folder / name, dirs_exist_ok=True,
                    copy_function=shutil.copyfile,
                )  # fmt: skip
        capture = getattr(getattr(self, "observers", None), "capture", None)
        write_manifest(
            self.run_folder,
            {
                "experiment": self.plan.experiment,
                "keying": self.plan.keying,
                "seed": self.plan.seed,
                "options": self.plan.options.model_dump(mode="json"),
                "status": status,
                "events": count,
                "packets_captured": capture.packets if capture else 0,
                "packets_not_captured": capture.dropped if capture else 0,
                "guest_seconds": (time.monotonic_ns() - self._started_ns) / 1e9,
                "crashed": sorted(f"{node}:{daemon}" for node, daemon in self.crashed),
            },
        )


async def run_plan(plan: Plan, run_folder: Path, nursery: Nursery | None = None) -> int:
    """Play a plan; 0 when it ran to its end with every daemon alive, 1 when not. `nursery`: as of Laboratory.

    InputError and EnvironmentFailure are raised, after what is known has been written.
    """
    engine = Engine(plan, run_folder, nursery=nursery)
    status, reason = DONE, None
    try:
        await engine.start()
        await engine.play()
    except LabError as error:
        status, reason = FAILED, str(error)
        raise
    except OSError as error:
        status, reason = FAILED, str(error)
        raise EnvironmentFailure(f"the kernel refused: {error}") from error
    finally:
        try:
            await engine.finish(status, reason)
        finally:
            engine.lab.close()
    return 0 if not engine.crashed else 1
