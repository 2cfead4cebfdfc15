"""A results folder as `lab run` leaves it, without a guest: power_cycle on a ring of four, two modes, two seeds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from testbed.analysis.run import NS
from testbed.record.origin import Origin
from testbed.record.plan import Plan
from testbed.runner import afresh, execute
from testbed.runner.execute import Outcome
from testbed.runner.experiment import find
from testbed.topology.load import load
from testbed.topology.paths import expected_paths

RING = load("ring:4")
KEYINGS, SEEDS = ("none", "lks"), (1, 2)
BOOT_S = 160


def results(folder: Path, **times_s: float) -> Path:
    """The folder. `times_s`: by keying mode, how long after the boot the routes are right; 15 s."""
    for keying in KEYINGS:
        for seed in SEEDS:
            run(folder, keying, seed, times_s.get(keying, 15.0))
    afresh.again(folder)
    told = json.loads((folder / "summary.json").read_text())
    told["command"] = "./lab run power_cycle --topology ring:4"
    (folder / "summary.json").write_text(json.dumps(told, indent=1) + "\n")
    return folder


def run(folder: Path, keying: str, seed: int, converged_s: float = 15.0) -> Path:
    """One run's folder."""
    own = folder / "runs" / f"{keying}-{seed}-0123456789ab"
    own.mkdir(parents=True)
    find("power_cycle").plan(RING, keying, seed, {}).write(own / "plan.json")
    lines = sorted(_events(converged_s), key=lambda event: event["t"])
    (own / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    Origin("virtual", "k", "t", "c", "0" * 40).write(own)
    execute.keep(Outcome(keying, seed, own, "done", 2.0, 270.0))
    seal(own)
    return own


def seal(own: Path) -> None:
    """Write the manifest for what is there now."""
    names = [name for name in ("plan.json", "record.jsonl") if (own / name).exists()]
    hashes = {name: hashlib.sha256((own / name).read_bytes()).hexdigest() for name in names}
    (own / "manifest.json").write_text(json.dumps({"format": 1, "commit": None, "sha256": hashes}, indent=1))


def only(folder: Path, keying: str, seed: int) -> Path:
    """The folder of one run."""
    (found,) = (folder / "runs").glob(f"{keying}-{seed}-*")
    return found


def _events(converged_s: float) -> list[dict[str, Any]]:
    def event(now_s: float, node: str, source: str, kind: str, **more: Any) -> dict[str, Any]:
        return {"t": round(now_s * NS), "node": node, "source": source, "kind": kind, **more}

    found = [
        event(0.1, "lab", "lab", "ready"), event(100, "r1", "fault", "power_off"),
        event(BOOT_S, "lab", "lab", "mark", name="power_returns"), event(BOOT_S, "r1", "fault", "power_on"),
        event(270, "lab", "lab", "run_end", status="done"),
    ]  # fmt: skip
    own = {router.loopback.network for router in RING.routers.values()}
    for node, table in expected_paths(RING).items():
        for prefix, hops in table.items():
            if prefix in own:
                there = [{"via": str(hop), "dev": "x"} for hop in hops]
                found.append(event(BOOT_S + converged_s, node, "route", "add", dst=str(prefix), nexthops=there))
    for node in RING.routers:
        for near in RING.neighbors(node):
            other = str(RING.routers[near.neighbor_router].router_id)
            words = {"daemon": "ospfd", "ifname": near.interface.name, "neighbor": other, "old": "Loading"}
            found.append(event(BOOT_S + converged_s - 1, node, "frr", "adjacency", state="Full", **words))
    return found


KEY_LINE = (
    f'{"11" * 8},{"22" * 8},{"00" * 20},{"00" * 20},"AES-GCM-128 with 16 octet ICV [RFC5282]",,,"NONE [RFC4306]"\n'
)


def capture(path: Path, count: int = 2) -> Path:
    """IKE_SA_INIT datagrams that hold nothing, on UDP port 500."""
    ike = bytes(7) + b"\x01" + bytes(8) + bytes((0, 0x20, 34, 0x08)) + bytes(4) + (28).to_bytes(4, "big")
    udp = (500).to_bytes(2, "big") * 2 + (8 + len(ike)).to_bytes(2, "big") + bytes(2) + ike
    ip = (
        bytes((0x45, 0))
        + (20 + len(udp)).to_bytes(2, "big")
        + bytes(4)
        + bytes((64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2))
    )
    frame = ip + udp
    record = bytes(8) + len(frame).to_bytes(4, "little") * 2 + frame
    head = b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(8) + (65535).to_bytes(4, "little") + (101).to_bytes(4, "little")
    path.write_bytes(head + record * count)
    return path


__all__ = ["KEYINGS", "KEY_LINE", "RING", "SEEDS", "Plan", "capture", "only", "results", "run", "seal"]
