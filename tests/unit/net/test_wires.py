"""Where a wire has a carrier, and what its shaping is."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import sentinel

import pytest

from testbed.net import wires as module
from testbed.net.wires import Netem, Port, Wires, WireSegment


def segment(kind: str, *lit: bool) -> WireSegment:
    ports = [
        Port(f"r{number}", f"r{number}-eth0", "02:00:00:00:00:01", sentinel.namespace, lit=on)
        for number, on in enumerate(lit, 1)
    ]
    return WireSegment("s", kind == "p2p", ports, Netem())


def wanted(built: WireSegment) -> list[bool]:
    return [Wires._wanted(built, port) for port in built.ports]


def test_a_point_to_point_end_is_lit_by_the_other_end() -> None:
    assert wanted(segment("p2p", True, True)) == [True, True]
    assert wanted(segment("p2p", True, False)) == [False, True]
    assert wanted(segment("p2p", False, False)) == [False, False]


def test_a_lan_lights_its_ports_whoever_is_on() -> None:
    assert wanted(segment("lan", False, True, False)) == [True, True, True]


def test_a_cut_segment_is_dark_at_both_ends() -> None:
    for kind in ("p2p", "lan"):
        built = segment(kind, True, True)
        built.cut = True
        assert wanted(built) == [False, False]


def test_an_ideal_wire_needs_no_netem() -> None:
    assert Netem().words() == ""
    assert Netem(delay_ms=5, jitter_ms=1, loss_percent=2, rate_mbps=10).words() == (
        "limit 20000 delay 5ms 1ms loss 2% rate 10mbit"
    )


def test_the_wire_carries_what_its_widest_end_sends_and_each_end_has_its_own_mtu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(module, "batch", lambda _program, lines, **_: said.extend(lines))
    monkeypatch.setattr(module, "Namespace", lambda _name: SimpleNamespace(sysctl=lambda _settings: None))
    built = segment("p2p", True, True)
    for port, mtu in zip(built.ports, (1400, 9000), strict=True):
        port.mtu, port.namespace = mtu, SimpleNamespace(pid=1)  # type: ignore[assignment]
    Wires().build([built])
    ends = [line.split(" type veth ") for line in said if "veth" in line]
    assert ["mtu 9000" in wire for wire, _node in ends] == [True, True]
    assert [node.split()[4] for _wire, node in ends] == ["1400", "9000"]
