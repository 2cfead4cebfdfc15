"""What counts as a request that no schedule called for, on records made by hand."""

from __future__ import annotations

import json
import struct
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.requests import at_dks, due_after_end, peak
from testbed.analysis.run import NS, Run
from testbed.keying.options import AgentOptions
from testbed.record.plan import Plan
from testbed.topology.load import load

RING = load("ring:4")
FIRST, SECOND = ("r1", "r2")
OFF_S, ON_S = 90, 100


def address(router: str) -> str:
    return str(RING.routers[router].interfaces[-1].ipv4.ip)


def event(now_s: float, node: str, source: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"t": round(now_s * NS), "node": node, "source": source, "kind": kind, **more}


def request(at_s: float, router: str, *, again: bool = False) -> dict[str, Any]:
    return event(at_s, "dks", "agent", "request", peer=address(router), retransmission=again)


def scheduled(told_s: float, router: str, due_s: float) -> dict[str, Any]:
    return event(told_s, router, "agent", "dks_scheduled", at_s=due_s)


def off(router: str) -> dict[str, Any]:
    return event(OFF_S, router, "fault", "power_off")


def on(router: str, at_s: float = ON_S) -> dict[str, Any]:
    return event(at_s, router, "fault", "power_on")


def early(folder: Path, *events: dict[str, Any], keying: str = "lks", first_min_s: int = 60) -> int:
    options = AgentOptions.model_validate({"policy": {"reconnect": {"first_min_s": first_min_s}}})
    plan = Plan(experiment="storm", topology=RING, keying=keying, seed=1, duration_s=300, options=options)
    plan.write(folder / "plan.json")
    lines = [json.dumps(each) + "\n" for each in sorted(events, key=lambda each: each["t"])]
    (folder / "record.jsonl").write_text("".join(lines))
    return at_dks(Run(folder), ON_S * NS).before_schedule


def test_a_request_that_the_policy_allows_is_not_early(tmp_path: Path) -> None:
    assert early(tmp_path, off(FIRST), on(FIRST), request(160, FIRST), request(161, FIRST, again=True)) == 0


def test_a_request_that_the_policy_does_not_allow_yet_is_early_whatever_the_router_said(tmp_path: Path) -> None:
    said = scheduled(101, FIRST, 101)
    assert early(tmp_path, off(FIRST), on(FIRST), said, request(159.9, FIRST)) == 1


def test_the_policy_of_the_run_counts_and_not_the_usual_one(tmp_path: Path) -> None:
    assert early(tmp_path, on(FIRST), request(131, FIRST), first_min_s=30) == 0
    assert early(tmp_path, on(FIRST), request(161, FIRST), first_min_s=90) == 1


def test_a_router_that_kept_its_power_counts_from_its_own_boot(tmp_path: Path) -> None:
    assert early(tmp_path, off(SECOND), on(SECOND), request(110, FIRST)) == 0
    assert early(tmp_path, off(SECOND), on(SECOND), request(110, SECOND)) == 1


def test_an_address_of_nobody_counts_from_the_oldest_boot(tmp_path: Path) -> None:
    asked = {**request(130, FIRST), "peer": "203.0.113.9"}
    assert early(tmp_path, *(on(name, 80) for name in RING.routers), asked) == 1
    assert early(tmp_path, on(FIRST, 80), asked) == 0


def datagram(at_s: float, source: str, destination: str, data: bytes) -> bytes:
    udp = struct.pack("!HHHH", 848, 848, 8 + len(data), 0) + data
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 60, 17, 0,
                     IPv4Address(source).packed, IPv4Address(destination).packed)  # fmt: skip
    frame = bytes(12) + b"\x08\x00" + ip + udp
    return struct.pack("=IIII", int(at_s), round(at_s % 1 * NS), len(frame), len(frame)) + frame


def test_what_the_dks_did_not_write_down_is_found_on_its_wire(tmp_path: Path) -> None:
    def header(flags: int) -> bytes:
        return bytes(16) + bytes((0, 0x20, 34, flags)) + bytes(8)

    ours, its = address(FIRST), str(RING.dks.ipv4.ip)
    passing = [
        (90.0, ours, its, 0x08),  # before the power returned
        (120.0, ours, its, 0x08),
        (120.1, its, ours, 0x20),
        (121.0, ours, its, 0x28),  # an answer of the router's, to a request of the DKS
        (170.0, ours, its, 0x08),
    ]
    (tmp_path / "pcap").mkdir()
    wire = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    wire += b"".join(datagram(at, one, other, header(flags)) for at, one, other, flags in passing)
    (tmp_path / "pcap" / f"{RING.dks.interface}.pcap").write_bytes(wire)
    assert early(tmp_path, on(FIRST)) == 1, "the DKS said nothing of what came at 120 s"


def test_without_a_policy_that_makes_routers_wait_every_request_is_early(tmp_path: Path) -> None:
    assert early(tmp_path, request(120, FIRST), request(121, FIRST, again=True), keying="central-mgmt") == 2


def test_requests_before_the_span_are_left_out_and_repeats_are_told_apart(tmp_path: Path) -> None:
    early(tmp_path, request(65, FIRST), request(120, FIRST), request(122, FIRST, again=True))
    found = at_dks(Run(tmp_path), ON_S * NS)
    assert (found.total, found.unique, found.times_s) == (2, 1, (20.0, 22.0))


def test_routers_whose_first_contact_lies_beyond_the_end_are_counted(tmp_path: Path) -> None:
    stale, cut = scheduled(2, FIRST, 150), off(FIRST)
    end = event(300, "lab", "lab", "run_end")
    early(
        tmp_path, stale, cut, scheduled(101, FIRST, 500), scheduled(101, SECOND, 200), scheduled(201, SECOND, 900), end
    )
    assert due_after_end(Run(tmp_path)) == 1
    early(tmp_path, scheduled(101, FIRST, 500), end, keying="central-mgmt")
    assert due_after_end(Run(tmp_path)) == 0


@pytest.mark.parametrize(("times", "most"), [((), 0), ((0.9, 1.1, 1.8), 3), ((0.0, 1.0), 1), ((5.0, 5.0, 7.0), 2)])
def test_the_peak_is_of_any_second_and_not_of_the_clocks(times: tuple[float, ...], most: int) -> None:
    assert peak(times) == most
