"""Faults in the kernel: made wholly or not at all, read back, told when there was nothing to do. Runs in the guest."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.errors import InputError, LabError
from testbed.faults.command_line import parse_fault
from testbed.inside.engine import Engine
from testbed.net.wires import Netem
from testbed.record.plan import Plan
from testbed.topology.load import load
from tests.integration.net_lab import read_record

pytestmark = pytest.mark.guest
LINK = "r1--r2"


def in_laboratory(folder: Path, look: Callable[[Engine], object], keying: str = "none") -> list[dict[str, object]]:
    """The record of a laboratory of three routers in which `look` did something."""

    async def run() -> None:
        plan = Plan(experiment="test", topology=load("ring:3"), keying=keying, duration_s=1)
        plan.write(folder / "plan.json")
        engine = Engine(plan, folder)
        try:
            await engine.start()
            look(engine)
            await engine.play()
        finally:
            await engine.finish("done")
            engine.lab.close()

    asyncio.run(run())
    return read_record(folder / "record.jsonl")


def qdiscs(engine: Engine) -> list[str]:
    """What the kernel says of the qdiscs of all wires, without counters and handles."""
    shown = engine.lab.wires.namespace
    from testbed.net.runner import run

    found = json.loads(run(["tc", "-j", "qdisc", "show"], namespace=shown).stdout)
    return sorted(json.dumps({k: v for k, v in each.items() if k in ("dev", "kind", "options")}) for each in found)


def test_what_netem_is_told_the_kernel_has_and_what_it_does_not_take_changes_nothing(tmp_path: Path) -> None:
    def look(engine: Engine) -> None:
        wires, do = engine.lab.wires, lambda text: engine.faults.do(parse_fault(text.split()))
        for words, wanted in (
            ("delay_ms=20 jitter_ms=5 loss_percent=3 rate_mbps=64kbps", Netem(20, 5, 3, 0.064)),
            ("rate_mbps=none", Netem(20, 5, 3)),
            ("delay_ms=10s jitter_ms=2147 loss_percent=100 rate_mbps=100Gbps", Netem(10_000, 2147, 100, 100_000)),
            ("delay_ms=200us jitter_ms=0 loss_percent=0.01 rate_mbps=1kbps", Netem(0.2, 0, 0.01, 0.001)),
            ("delay_ms=0 jitter_ms=5 loss_percent=0 rate_mbps=none", Netem(0, 5)),
            ("delay_ms=0 jitter_ms=0", Netem()),
            ("delay_ms=7", Netem(7)),
        ):
            assert do(f"link_netem segment={LINK} {words}") is None
            assert all(each.like(wanted) for each in wires.netem(LINK)), (words, wires.netem(LINK))
        before = qdiscs(engine)
        with pytest.raises(LabError):
            wires.set_netem(LINK, loss_percent=500)
        with pytest.raises(LabError, match="the kernel keeps"):
            wires.set_netem(LINK, jitter_ms=5000, delay_ms=9000)
        last = wires.segment(LINK).ports[-1]
        known, last.device = last.device, "nosuch"
        for change in (
            lambda: wires.set_netem(LINK, delay_ms=9),
            lambda: wires.blackhole(LINK, True),
            lambda: wires.partition(lambda node: node == "r2"),
            lambda: wires.carrier(LINK, False),
        ):
            with pytest.raises(LabError):
                change()
        last.device = known
        assert qdiscs(engine) == before and wires.segment(LINK).netem == Netem(7)
        ports = wires.segment(LINK).ports
        assert not wires.segment(LINK).cut and all(port.up and port.bridge == ports[0].bridge for port in ports)
        links = json.loads(engine.lab.node("r1").run("ip", "-j", "link", "show", ports[0].name))
        assert "LOWER_UP" in links[0]["flags"]
        assert do(f"link_blackhole segment={LINK}") is None and all(n.loss_percent == 100 for n in wires.netem(LINK))
        assert do(f"link_heal segment={LINK}") is None and qdiscs(engine) == before
        assert do(f"link_netem segment={LINK} loss_percent=1") is None
        assert all(each.like(dataclasses.replace(Netem(7), loss_percent=1)) for each in wires.netem(LINK))
        assert do("partition groups=r1/r2,r3") is None and do("heal") is None

    record = in_laboratory(tmp_path, look)
    told = [event for event in record if event["source"] == "fault" and event["kind"] == "link_netem"]
    assert len(told) == 8, "a change that was not made is in the record"


def test_a_fault_with_nothing_to_do_is_told_and_recorded_and_does_nothing(tmp_path: Path) -> None:
    typed = [
        ("dks_kill", "keying none has no DKS"),
        ("dks_start", "keying none has no DKS"),
        ("power_off dks=true", "keying none has no dks"),
        ("power_on nodes=r1,r2", "r1, r2: already powered"),
        ("router_remove router=r1", "keying none has no key"),
        ("policy_step direction=up", "keying none has no policy"),
        (f"link_carrier_up segment={LINK}", "has its carrier"),
        (f"link_heal segment={LINK}", "drops no packets"),
        (f"link_admin_up segment={LINK}", "already up"),
        ("heal", "no segment is cut"),
        (f"tap segment={LINK}", None),
        (f"tap segment={LINK}", "already"),
        (f"impostor segment={LINK} victim=r1 router=r2 name=r2 key=r2", "no agent that speaks IKE"),
        (f"link_admin_down segment={LINK} side=r1", None),
        (f"link_admin_down segment={LINK} side=r1", "already down"),
        (f"link_admin_down segment={LINK}", None),
        (f"link_carrier_down segment={LINK}", None),
        (f"link_carrier_down segment={LINK}", "already has no carrier"),
        ("power_off nodes=r1", None),
        ("power_off nodes=r1", "r1: already without power"),
        ("power_off nodes=r1,r2", None),
        (f"link_admin_up segment={LINK}", "without power"),
        ("clock_step node=dks seconds=5", "keying none has no dks"),
        ("partition groups=r1,r2,r3", "already cut this way"),
    ]

    def look(engine: Engine) -> None:
        with pytest.raises(InputError, match="no intruder is on"):
            engine.faults.do(parse_fault(["replay", f"segment={LINK}"]))
        for text, reason in typed:
            said = engine.faults.do(parse_fault(text.split()))
            assert (said is None) == (reason is None) and (reason or "") in (said or ""), (text, said)
        assert [node.powered for node in engine.lab.routers] == [False, False, True]

    record = in_laboratory(tmp_path, look)
    told = [(event["action"], event["reason"]) for event in record if event["kind"] == "nothing_to_do"]
    wanted = [(text.split()[0], reason) for text, reason in typed if reason]
    assert [action for action, _ in told] == [action for action, _ in wanted]
    assert all(reason in said for (_, reason), (_, said) in zip(wanted, told, strict=True))
    made = [event["kind"] for event in record if event["source"] == "fault"]
    assert made == ["link_admin_down", "link_admin_down", "link_carrier_down", "power_off", "power_off"]


def test_a_key_server_is_killed_once_and_a_router_is_removed_once(tmp_path: Path) -> None:
    def look(engine: Engine) -> None:
        def do(text: str) -> str | None:
            return engine.faults.do(parse_fault(text.split()))

        assert do("router_remove router=r3") is None and do("router_remove router=r3") == "r3 is already removed"
        assert do("dks_kill") is None and do("dks_kill") == "the DKS does not run"
        assert do("dks_start") is None and do("dks_start") == "the DKS already runs"
        assert do("power_off dks=true") is None and do("dks_start") == "the DKS's node is without power"
        assert do("power_off nodes=r2") is None
        with pytest.raises(InputError, match="r2 has no power"):
            do("router_remove router=r1 hand_to=r2")
        assert engine.lab.keying._policy_server().removed("r1") is False  # type: ignore[attr-defined]

    in_laboratory(tmp_path, look, "lks")
