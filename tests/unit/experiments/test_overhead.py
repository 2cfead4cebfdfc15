"""What the experiment on overhead makes of a record: the phases, the marks, the clock, and what it calls wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from testbed.analysis.measures import Adjacencies
from testbed.analysis.run import NS, Run
from testbed.record.plan import Plan
from testbed.runner.experiment import Measures, Table, find
from testbed.topology.load import load
from tests.unit.analysis import test_traffic as by_hand

UP = Adjacencies(8, 8)


OVERHEAD = find("overhead")
RING = load("ring:4")
R1 = by_hand.R1
INIT, INFORMATIONAL, REKEY, ESP, OSPF, UDP = 34, 37, 42, 50, 89, 17


def event(now_s: float, node: str, source: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"t": round(now_s * NS), "node": node, "source": source, "kind": kind, **more}


def cpu(node: str, ms: tuple[int, int, int]) -> list[dict[str, Any]]:
    moments = ((100, "steady", ms[0]), (340, "steady_end", ms[1]), (341, "end", ms[2]))
    return [event(at, node, "probe", "cpu", at=mark, program="x", ns=spent * 10**6) for at, mark, spent in moments]


def measured(folder: Path, kind: str, frames: list[tuple[int, int, bytes]], *more: dict[str, Any]) -> Measures:
    Plan(experiment="overhead", topology=RING, keying="lks", seed=1, duration_s=341).write(folder / "plan.json")
    origin = {"kind": kind, "kernel": "k", "tree": "t", "code": "c"}
    (folder / "origin.json").write_text(json.dumps(origin))
    marks = [event(100, "lab", "lab", "mark", name="steady"), event(340, "lab", "lab", "mark", name="steady_end")]
    events = sorted([*marks, *more], key=lambda each: each["t"])
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    packets = [(second, R1.mac, by_hand.packet(R1.ipv4.ip, protocol, data)) for second, protocol, data in frames]
    by_hand.capture(folder, R1.name, packets)
    return OVERHEAD.measure(Run(folder))


NOTHING = dict.fromkeys(
    (
        "IKE to come up, octets per router",
        "IKE per key lifetime, octets per router",
        "IKE for a new key of a group, octets",
        "IKE for liveness and reports, octet/s per router",
        "handshakes to come up",
    ),
    0.0,
)
FRAMES = [
    (50, UDP, by_hand.ike(1, INIT, 0, more=344)),
    (60, OSPF, bytes(48)),
    (100, ESP, bytes(104)),
    (200, ESP, bytes(104)),
    (210, UDP, by_hand.ike(1, REKEY, 2, more=44)),
    (220, UDP, by_hand.ike(1, INFORMATIONAL, 3, more=104)),
    (340, ESP, bytes(104)),
]


def test_what_is_sent_while_coming_up_is_kept_apart_from_what_a_key_lifetime_costs(tmp_path: Path) -> None:
    found = measured(
        tmp_path, "virtual", FRAMES, event(220, "r1", "agent", "rekeyed"), event(90, "r1", "agent", "rekeyed")
    )
    extra = found.extra
    assert extra["handshakes to come up"] == 1 and extra["handshakes per key lifetime"] == 0
    assert extra["IKE to come up, octets per router"] == 400 / 4
    assert extra["IKE per key lifetime, octets per router"] == 260 / 4 / 4
    assert extra["IKE for a new key of a group, octets"] == 100
    assert extra["IKE for liveness and reports, octet/s per router"] == 160 / 240 / 4
    assert extra["octets of a routing packet, mean"] == 124
    assert extra["routing per interface, octet/s"] == 2 * 124 / 240 / 8
    assert extra["routing packets in clear after coming up"] == 0


def test_processor_and_installation_have_numbers_on_the_real_clock_and_none_in_virtual_time(tmp_path: Path) -> None:
    spent = [*cpu("dks", (40, 80, 90)), *cpu("r1", (10, 30, 31)), *cpu("r2", (30, 90, 91))]
    change = event(150, "r1", "agent", "installed", sas=2, changes=5, apply_ns=4 * 10**6, since_ns=9 * 10**6)
    others = [
        event(at, "r1", "agent", "installed", sas=sas, changes=9, apply_ns=10**9, since_ns=10**9)
        for at, sas in ((150, 0), (20, 2))  # none installed; and while all start at once
    ]
    real = measured(tmp_path, "uml", FRAMES, *spent, change, *others).extra
    assert real["processor time of DKS to come up, ms"] == 40
    assert real["processor time of DKS per key lifetime, ms"] == 10
    assert real["processor time of an LKS to come up, ms"] == 20
    assert real["processor time of an LKS per key lifetime, ms"] == 10
    assert real["kernel's part of an SA, median, ms"] == 2
    assert real["from a key's arrival to its SA in force, median, ms"] == 9
    virtual = measured(tmp_path, "virtual", FRAMES, *spent, change, *others).extra
    timed = {name for name in real if name.endswith(", ms")}
    assert len(timed) == 7 and all(virtual[name] is None and real[name] is not None for name in timed)


def test_what_only_the_real_clock_has_is_found_there_alone() -> None:
    extra = {"routing per interface, octet/s": 6.5, "octets of a routing packet, mean": 68.0}
    for value, said in ((None, []), (4.25, ["central-mgmt, real clock, ms: kernel's part of an SA, median 4.2."])):
        runs = [Measures(10.0, UP, extra={**NOTHING, **extra, "kernel's part of an SA, median, ms": value})]
        assert OVERHEAD.findings(Table({"central-mgmt": runs}))[1:] == said


def test_one_handshake_is_told_with_its_ml_kem_and_its_time_on_the_real_clock_alone(tmp_path: Path) -> None:
    exchanges = [(INIT, 0, 0), (43, 1, 1100), (43, 1, 100), (39, 2, 300)]
    frames = [
        (50 + at, UDP, by_hand.ike(1, kind, number, more=more)) for at, (kind, number, more) in enumerate(exchanges)
    ]
    frames.append((54, UDP, by_hand.ike(1, 39, 2, response=True, more=300)))
    extra = measured(tmp_path, "uml", frames).extra
    assert [extra[f"a handshake, {unit}"] for unit in ("octets", "datagrams", "round trips", "ms")] == [
        2080,
        5,
        3,
        4000,
    ]
    part = [extra[f"ML-KEM-768 in a handshake, {unit}"] for unit in ("octets", "datagrams", "round trips", "ms")]
    assert part == [1312, 2, 1, 1000]
    runs = [Measures(10.0, UP, extra={**NOTHING, **extra})]
    assert (
        "; 2080 octets in 5 datagrams and 3 round trips a handshake, ML-KEM-768 1312, 2 and 1 of them."
        in (OVERHEAD.findings(Table({"lks": runs}))[0])
    )
    assert measured(tmp_path, "virtual", frames).extra["a handshake, ms"] is None


def judged(keying: str, **changed: float) -> set[str]:
    extra = {"routing packets in clear after coming up": 0.0, "handshakes per key lifetime": 0.0, **changed}
    table = Table({keying: [Measures(10.0, UP, extra=extra)]})
    return {each.text for each in OVERHEAD.judge(table) if not each.ok}


def test_cleartext_is_wrong_where_keys_protect_and_right_where_there_are_none() -> None:
    clear = {"routing packets in clear after coming up": 3.0}
    assert judged("lks") == set() and judged("none", **clear) == set() and judged("native", **clear) == set()
    assert judged("dks-lks", **clear) == {"no routing packet in clear"}
    assert judged("manual", **clear) == set(), "static keys are those of links, and Registers go over several"


def test_a_handshake_for_a_new_key_is_found() -> None:
    assert judged("lks", **{"handshakes per key lifetime": 0.25}) == {"a new key needs no new handshake"}


def test_every_interface_is_captured_and_costs_are_written_down_unless_one_says_otherwise() -> None:
    plan = OVERHEAD.plan(RING, "lks", 1, {})
    assert plan.captures == "all" and plan.options.costs and plan.options.sad
