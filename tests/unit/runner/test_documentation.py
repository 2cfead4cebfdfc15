"""The examples of the pages on sweeps, keying modes and probes do what the pages say."""

from __future__ import annotations

import os
import random
import re
import socket
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from testbed.keying import base
from testbed.net import frr
from testbed.runner import sweepfile
from testbed.setup.paths import PROJECT
from testbed.topology.load import load
from testbed.topology.resolved import Interface


def blocks(page: str) -> dict[str, str]:
    text = (PROJECT / "docs" / page).read_text()
    return dict(re.findall(r"<!-- tested: (\S+) -->\n```\w*\n(.*?)```", text, re.DOTALL))


def module(name: str, text: str) -> types.ModuleType:
    made = types.ModuleType(name)
    sys.modules[name] = made
    exec(compile(text, name, "exec"), vars(made))
    return made


def test_the_sweep_of_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(blocks("sweeps.md")["sweep.yaml"])
    assert len(sweepfile.read(tmp_path / "mine.yaml").cells) == 2 * 2 * 2 * 5


def test_the_keying_mode_of_the_page_writes_frrs_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (PROJECT / "docs" / "add-keying.md").read_text()
    (entry,) = re.findall(r'`"md5": \("(\S+)", "(\w+)"\)`', page)
    assert entry[0] == "testbed.keying.md5"
    module(entry[0], blocks("add-keying.md")["md5.py"])
    monkeypatch.setitem(base._MODES, "md5", entry)
    mode, topology = base.keying("md5"), load("line:2")
    mode.prepare(topology, tmp_path, 1, mode.options())
    router = topology.routers["r1"]

    def configured(by: base.Keying) -> str:
        def lines(interface: Interface) -> list[str]:
            return by.frr_interface_lines(topology, interface, "ospfd")

        return frr.configuration(topology, router, "ospfd", [], lines, tmp_path / "log")

    text = configured(mode)
    assert text.count("ip ospf authentication message-digest") == sum(not i.passive for i in router.interfaces) > 0
    other = base.keying("md5")
    other.prepare(topology, tmp_path, 2, other.options())
    assert configured(other) != text


def test_the_probe_of_the_page_counts_what_is_thrown_away() -> None:
    counters = module("udpstat", blocks("add-probe.md")["udpstat.py"]).udp_counters
    before = counters(os.getpid())
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as full,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as us,
    ):
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        full.bind(("127.0.0.1", 0))
        for _ in range(200):
            us.sendto(random.randbytes(1000), full.getsockname())
    assert counters(os.getpid())["InErrors"] > before["InErrors"]
    assert counters(2**22 + 1) == {}


def test_the_probes_events_are_written_and_measured_as_the_page_says() -> None:
    texts, written = blocks("add-probe.md"), []
    node = types.SimpleNamespace(pid=os.getpid())
    lab = types.SimpleNamespace(
        nodes={"dks": node},
        record=lambda name, source, kind, **more: written.append(
            {"node": name, "source": source, "kind": kind, **more}
        ),
    )
    names: dict[str, Any] = {"self": types.SimpleNamespace(_lab=lab), "at": "end"}
    names["udp_counters"] = lambda _pid: {"InErrors": 3}
    exec(texts["snapshot.py"], names)

    def where(*asked: str) -> list[dict[str, Any]]:
        return [event for event in written if (event["source"], event["kind"], event["node"]) == asked]

    names["run"] = types.SimpleNamespace(where=where)
    exec(texts["measure.py"], names)
    assert names["lost"] == 3
