"""Plays plans in the guest and reads their records, for the tests of the laboratory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.inside.engine import Engine, run_plan
from testbed.record.kinds import wrong
from testbed.record.plan import Plan
from testbed.record.writer import Event
from testbed.topology.load import load
from testbed.topology.resolved import Topology

LAN_WITH_EVERYTHING = """
name: everything
ospf: {versions: [2, 3]}
pim: {rp: r1}
lans:
  office: {routers: [r1, r2, r3]}
"""


def read_record(path: Path) -> list[Event]:
    """The events of a record file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Played:
    """A run that has ended."""

    code: int
    events: list[Event]
    folder: Path
    plan: Plan

    def of(self, source: str, kind: str | None = None, **fields: Any) -> list[Event]:
        """The events of a source and kind whose fields are as given."""
        return [
            event
            for event in self.events
            if event["source"] == source
            and kind in (None, event["kind"])
            and all(event.get(name) == value for name, value in fields.items())
        ]

    def at(self, source: str, kind: str, **fields: Any) -> float:
        """Seconds of the first such event."""
        found = self.of(source, kind, **fields)
        assert found, f"no {source} {kind} {fields}"
        return found[0]["t"] / 1e9

    def adjacency(self, daemon: str, state: str, after: float = 0.0, **fields: Any) -> list[Event]:
        """Changes of adjacencies to a state, after a time in seconds."""
        found = self.of("frr", "adjacency", daemon=daemon, state=state, **fields)
        return [event for event in found if event["t"] / 1e9 >= after]

    def routes_at_end(self, router: str) -> dict[str, frozenset[str]]:
        """A router's learned IPv4 routes as the record has them in the end: prefix → gateways."""
        table: dict[str, frozenset[str]] = {}
        for event in self.of("route", node=router):
            if event["proto"] != "ospf" or ":" in event["dst"]:
                continue
            if event["kind"] == "del":
                table.pop(event["dst"], None)
            else:
                table[event["dst"]] = frozenset(hop["via"] for hop in event["nexthops"])
        return table


def play(folder: Path, topology: Topology | str, **fields: Any) -> Played:
    """Play a plan to its end."""
    chosen = load(topology) if isinstance(topology, str) else topology
    settings = {"experiment": "test", "keying": "none", "duration_s": 60.0, **fields}
    plan = Plan(topology=chosen, **settings)
    plan.write(folder / "plan.json")
    code = asyncio.run(run_plan(plan, folder))
    events = read_record(folder / "record.jsonl")
    undeclared = {text for each in events for text in wrong(each)}
    assert not undeclared, sorted(undeclared)
    return Played(code, events, folder, plan)


def from_yaml(folder: Path, text: str) -> Topology:
    """The topology of a YAML text."""
    path = folder / "topology.yaml"
    path.write_text(text)
    return load(str(path))


def in_engine(folder: Path, topology: Topology | str, seconds: float, look: Callable[[Engine], object]) -> object:
    """What `look` sees after some seconds of a running laboratory."""
    chosen = load(topology) if isinstance(topology, str) else topology

    async def run() -> object:
        plan = Plan(experiment="test", topology=chosen, keying="none", duration_s=seconds)
        plan.write(folder / "plan.json")
        engine = Engine(plan, folder)
        try:
            await engine.start()
            await engine.play()
            return look(engine)
        finally:
            await engine.finish("done")
            engine.lab.close()

    return asyncio.run(run())
