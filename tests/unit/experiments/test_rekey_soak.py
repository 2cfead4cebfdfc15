"""The rekey soak's numbers, of records made by hand: each thing that must not be is found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from testbed.analysis.run import NS, Run
from testbed.record.plan import Plan
from testbed.runner.experiment import Table, find
from testbed.topology.load import load

RING = load("ring:4")
SOAK = find("rekey_soak")
soak = sys.modules[type(SOAK).__module__]


def event(now_s: float, node: str, source: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"t": round(now_s * NS), "node": node, "source": source, "kind": kind, **more}


def broken(folder: Path, *more: dict[str, Any], rekeys: int = 1000, lost: int = 500) -> set[str]:
    """The criteria that do not hold for a run with this on record."""
    Plan(experiment="rekey_soak", topology=RING, keying="lks", seed=1, duration_s=720).write(folder / "plan.json")
    events = [
        event(60, "r1", "xfrm", "stat", at="lossy", counters={"XfrmInNoStates": 2}),
        event(60, "lab", "lab", "mark", name="lossy"),
        event(59, "r1", "agent", "rekeyed"),
        *(event(61, "r1", "agent", "rekeyed") for _number in range(rekeys)),
        event(719, "lab", "probe", "flow", flow=0, sent=10_000, received=10_000 - lost),
        *more,
    ]
    if not any(each["source"] == "xfrm" for each in more):
        events.append(event(720, "r1", "xfrm", "stat", at="end", counters={"XfrmInNoStates": 2}))
    events.sort(key=lambda each: each["t"])
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    table = Table({"lks": [SOAK.measure(Run(folder))]})
    return {each.text for each in SOAK.judge(table) if not each.ok}


def test_a_run_without_faults_is_right_and_what_was_before_the_mark_does_not_count(tmp_path: Path) -> None:
    full = event(10, "r1", "frr", "adjacency", daemon="ospfd", ifname="r1-eth0", neighbor="10.255.0.2", state="Full")
    assert broken(tmp_path, full) == set()


def test_too_few_rekeys_are_no_soak(tmp_path: Path) -> None:
    assert broken(tmp_path, rekeys=999) == {"at least 1000 rekeys a run"}


def test_one_packet_dropped_by_ipsec_is_found(tmp_path: Path) -> None:
    more = event(720, "r1", "xfrm", "stat", at="end", counters={"XfrmInNoStates": 2, "XfrmInTmplMismatch": 1})
    assert broken(tmp_path, more) == {"no packet dropped by IPsec, for want of a key or otherwise"}


def neighbor(now_s: float, daemon: str, state: str, old: str = "") -> dict[str, Any]:
    """What r1 says of its first neighbour."""
    near = RING.neighbors("r1")[0]
    who = RING.routers[near.neighbor_router].router_id
    return event(now_s, "r1", "frr", "adjacency", daemon=daemon, ifname=near.interface.name, neighbor=str(who),
                 state=state, old=old)  # fmt: skip


def test_neighbours_that_are_lost_more_often_than_hellos_by_chance_are_found(tmp_path: Path) -> None:
    limit = soak.lost_by_chance(RING, 660)
    assert 1 <= limit <= 6 and limit < soak.lost_by_chance(load("geant"), 660)
    lost = [neighbor(100 + 50 * number + off, "ospfd", state)
            for number in range(limit) for off, state in ((0, "Full"), (40, "Deleted"))]  # fmt: skip
    assert broken(tmp_path, *lost) == set()
    (text,) = broken(tmp_path, *lost, neighbor(600, "pimd", "Down", "Up"))
    assert text.startswith("no more neighbours of OSPF and PIM lost in a run than lost Hellos")


def test_a_neighbour_that_was_lost_before_the_links_were_bad_does_not_count(tmp_path: Path) -> None:
    lost = [neighbor(59, "pimd", "Down", "Up")] * 20
    assert broken(tmp_path, *lost) == set()


def test_more_losses_than_the_links_have_are_found(tmp_path: Path) -> None:
    assert broken(tmp_path, lost=650) == {"no probe lost beyond what the links lose"}


def test_a_second_without_any_packet_is_found(tmp_path: Path) -> None:
    outage = event(99, "lab", "probe", "loss", flow=0, first_seq=100, last_seq=109, sent_first_ns=1, sent_last_ns=2)
    assert broken(tmp_path, outage) == {"at most 8 probes lost in a row"}


def test_probes_go_over_one_link_or_over_several_side_by_side() -> None:
    flows = {(flow.src, flow.dst) for flow in SOAK.flows(load("ring:4:links=2"))}
    assert flows and flows == {(flow.src, flow.dst) for flow in SOAK.flows(RING)}
