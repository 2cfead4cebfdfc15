"""Agents forked into nodes: where they run, how they end, what the record says. In the guest."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from testbed.keying.none import NoKeying
from testbed.net.laboratory import Laboratory
from testbed.record.writer import Recorder, agent_events
from testbed.topology.load import load

pytestmark = pytest.mark.guest
MODULE = "tests.integration.net_agent"


class Preloaded(NoKeying):
    preload = (MODULE,)


def in_lab(work: Callable[[Laboratory, Recorder], Awaitable[None]]) -> None:
    async def run() -> None:
        record = Recorder()
        lab = Laboratory(load("ring:3"), Preloaded(), seed=1, options={}, record=record)
        try:
            lab.build()
            await lab.power_on("r1")
            await work(lab, record)
        finally:
            lab.close()

    asyncio.run(run())


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


def test_an_agent_runs_in_its_nodes_namespace_and_its_output_is_kept() -> None:
    async def work(lab: Laboratory, _record: Recorder) -> None:
        agent = lab.spawn("r1", MODULE, ["stay"], name="probe")
        await until(Path(f"{lab.events_file('r1')}.up").exists)
        assert agent.running
        assert agent.pid in lab.node("r1").net_namespace.processes()
        event = next(iter(agent_events(lab.events_file("r1"), "r1")))
        assert event["inode"] == lab.node("r1").net_namespace.inode
        assert event["hostname"] == "r1"
        assert "stderr's file" in lab.log_file("r1", "probe").read_text()
        agent.kill()
        assert not agent.running
        assert agent.status == -9

    in_lab(work)


def test_an_agent_dies_with_its_nodes_power() -> None:
    async def work(lab: Laboratory, _record: Recorder) -> None:
        agent = lab.spawn("r1", MODULE, ["stay"])
        await until(Path(f"{lab.events_file('r1')}.up").exists)
        lab.power_off("r1")
        await until(lambda: not agent.running)
        assert agent.status == -9

    in_lab(work)


def test_an_agent_that_ends_by_itself_is_in_the_record() -> None:
    async def work(lab: Laboratory, record: Recorder) -> None:
        agent = lab.spawn("r1", MODULE, ["leave", "3"], name="probe")
        await until(lambda: not agent.running)
        ends = [event for event in record.merged() if event["kind"] == "exit"]
        assert [(event["node"], event["program"], event["status"], event["killed"]) for event in ends] == [
            ("r1", "probe", 3, False)
        ]

    in_lab(work)


def test_an_agent_that_cannot_be_imported_ends_with_a_traceback_in_its_log() -> None:
    async def work(lab: Laboratory, _record: Recorder) -> None:
        agent = lab.spawn("r1", "agents.nothing.there", [], name="probe")
        await until(lambda: not agent.running)
        assert agent.status == 1
        assert "ModuleNotFoundError" in lab.log_file("r1", "probe").read_text()

    in_lab(work)
