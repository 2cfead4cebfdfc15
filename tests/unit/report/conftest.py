"""Invented runs of a small ring: enough of a record for every figure, made the same way each time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from testbed.analysis.run import NS, Run
from testbed.record.plan import Flow, Plan, Stream
from testbed.topology.resolved import Topology

Build = Callable[..., Run]
OFF_S, ON_S, END_S, DUE_S = 90.0, 100.0, 300.0, 220.0


@pytest.fixture(scope="session")
def ring() -> Topology:
    return Topology.load("ring:4")


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, ring: Topology) -> Build:
    """A function that writes one run of a power failure and gives it back."""

    def made(
        keying: str,
        seed: int,
        *,
        topology: Topology = ring,
        stuck: bool = False,
        streams: tuple[Stream, ...] = (),
        flows: tuple[Flow, ...] = (),
        more: Iterable[dict[str, Any]] = (),
    ) -> Run:
        folder = tmp_path_factory.mktemp("run")
        plan = Plan(
            experiment="storm", topology=topology, keying=keying, seed=seed, duration_s=END_S, streams=streams,
            flows=flows,
        )  # fmt: skip
        plan.write(folder / "plan.json")
        events = sorted([*_events(topology, keying, seed, stuck), *more], key=lambda event: event["t"])
        (folder / "record.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        return Run(folder)

    return made


@pytest.fixture(scope="session")
def summarize() -> Callable[..., dict[str, Any]]:
    """A function that makes a summary of convergence times by keying mode."""

    def made(times: dict[str, list[float | None]], **more: Any) -> dict[str, Any]:
        return {
            "format": 2,
            "measured": {
                "main": {"name": "power returned to all well", "since": "the power's return", "until": "all was well"},
                "restored": "adjacencies up at the end",
                "requests": "the return of the power",
            },
            "experiment": "storm",
            "title": "A storm",
            "question": "What happens?",
            "method": "Cut the power.",
            "shows_not": "How fast a DKS answers.",
            "topology": "ring-4",
            "routers": 4,
            "kernel": "virtual",
            "command": "./lab run storm",
            "seeds": list(range(1, 1 + max(map(len, times.values()), default=0))),
            "ok": True,
            "criteria": [{"keying": "lks", "text": "at most 1.10 × none", "value": "1.02", "ok": True}],
            "findings": ["central keying deadlocks."],
            "keyings": {keying: _keying(values) for keying, values in times.items()},
            "runs": [
                {
                    "keying": keying,
                    "seed": seed,
                    "folder": f"{keying}-{seed}",
                    "status": "done",
                    "wall_s": 9.5,
                    "virtual_s": 300.0,
                }
                for keying, values in times.items()
                for seed in range(1, len(values) + 1)
            ],
            "provenance": {"commit": "abc", "kernel_version": "7.3", "sha256": {"plan.json": "00"}},
            **more,
        }

    return made


def _keying(values: list[float | None]) -> dict[str, Any]:
    there = sorted(value for value in values if value is not None)
    at = lambda part: there[round(part * (len(there) - 1))] if there else None  # noqa: E731
    spread = {"median": at(0.5), "min": at(0), "max": at(1), "p25": at(0.25), "p75": at(0.75)}
    asked = [7] * len(values)
    return {
        "n": len(values),
        "failed": 0,
        "convergence_s": {**spread, "n": len(values), "values": values},
        "adjacencies": {"expected": 8, "restored": [8] * len(values)},
        "dks_requests": {
            "total": asked,
            "unique": asked,
            "before_first_scheduled_reconnection": [0] * len(values),
            "peak_per_s": asked,
        },
        "ratio_to_none": 1.0,
        "extra": {},
        "ok": len(there) == len(values),
        "reasons": [],
    }


def _events(topology: Topology, keying: str, seed: int, stuck: bool) -> list[dict[str, Any]]:
    rng = random.Random(f"{keying} {seed}")
    events: list[dict[str, Any]] = []

    def note(moment_s: float, node: str, source: str, kind: str, **more: Any) -> None:
        events.append({"t": round(moment_s * NS), "node": node, "source": source, "kind": kind, **more})

    note(0.02, "lab", "lab", "run_start")
    note(0.1, "lab", "lab", "ready")
    note(ON_S, "lab", "lab", "mark", name="power_returns")
    agents = keying.startswith(("central", "lks"))
    for name in topology.routers:
        note(OFF_S, name, "fault", "power_off")
        boot = ON_S + rng.uniform(0, 4)
        note(boot, name, "fault", "power_on")
        for index, near in enumerate(topology.neighbors(name)):
            fsm = {"daemon": "ospfd", "ifname": near.interface.name}
            other = str(topology.routers[near.neighbor_router].router_id)
            note(rng.uniform(8, 12), name, "frr", "adjacency", **fsm, neighbor=other, state="Full", old="Loading")
            if agents and not stuck:
                spot = {"interface": near.interface.name}
                note(boot + 4.1, name, "agent", "sa", **spot, change="added", direction="in")
                note(boot + 4.2, name, "agent", "registered", group="g", at=near.neighbor_router)
                note(boot + 4.5, name, "agent", "keyed", **spot, neighbor=near.neighbor_router)
            if not stuck or (name, index) == ("r1", 0):
                up = boot + rng.uniform(9, 14)
                note(up, name, "frr", "adjacency", **fsm, neighbor=other, state="Full", old="Loading")
        address = str(topology.routers[name].interfaces[0].ipv4.ip)
        due = DUE_S + rng.uniform(0, 20) if keying == "lks" else boot + 4
        if keying == "lks":
            note(boot + 3, name, "agent", "dks_scheduled", at_s=due)
        for index in range(30 if stuck else 3) if agents else ():
            note(due + index * 2, "dks", "agent", "request", peer=address, retransmission=index > 1)
    note(END_S, "lab", "lab", "run_end", status="done")
    return events
