"""Nodes know their own names and each other's: hostnames, /etc/hosts, prompts. Runs in the guest."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from net_lab import from_yaml, in_engine

from testbed.inside.carry import in_terminal
from testbed.inside.engine import Engine
from testbed.keying.none import NoKeying
from testbed.net.laboratory import Laboratory
from testbed.net.names import SHELL_PROMPT
from testbed.net.node import LabNode
from testbed.record.writer import Recorder

pytestmark = pytest.mark.guest

NAMED = """
ospf: {versions: [2, 3], hello: 1s, dead: 4s}
links: [r1-r2, r2-r3]
hosts: {h1: {on: r3}}
"""


def typed(node: LabNode, argv: list[str], line: str) -> str:
    """All that a terminal shows of a program, to which one line is typed before it ends."""
    command = in_terminal(node.net_namespace, argv, 24, 80, {"PS1": SHELL_PROMPT, **node.shell_words()})
    source, sink = command.sources["out"], command.sink
    assert sink is not None
    os.write(sink, line.encode() + b"\nexit\n")
    shown = b""
    try:
        while part := os.read(source, 4096):
            shown += part
    except OSError:  # a terminal's end
        pass
    command.process.wait(timeout=30)
    os.close(source)
    os.close(sink)
    return shown.decode()


def test_every_node_has_its_hostname_finds_the_others_by_name_and_shows_its_own_in_prompts(tmp_path: Path) -> None:
    def look(engine: Engine) -> None:
        lab = engine.lab
        for name, node in lab.nodes.items():
            assert node.run("uname", "-n") == f"{name}\n"
            assert node.run("hostname") == f"{name}\n"
            node.run("ping", "-c1", "r1" if name != "r1" else "h1")
        assert lab.node("r1").run("ping", "-n", "-c1", "-4", "r3").startswith("PING r3 (10.0.0.3)")
        assert lab.node("r1").run("ping", "-n", "-c1", "-6", "r3").startswith("PING r3 (fd00::3)")
        router = lab.router("r2")
        daemons = set(router.net_namespace.processes()) - {os.getpid()}
        (held,) = {os.readlink(f"/proc/{pid}/ns/uts") for pid in daemons}
        assert held != os.readlink("/proc/self/ns/uts")
        assert "root@r2:" in typed(router, ["bash", "--norc", "-i"], "true")
        assert "r2#" in typed(router, router.frr.vtysh(), "show version")
        assert "FRRouting" in typed(router, ["bash", "--norc", "-i"], "vtysh -c 'show version'")
        mininets = lab.net["h1"]
        assert mininets.cmd("hostname").strip() == "h1"
        popened = mininets.popen("hostname")
        assert isinstance(popened, subprocess.Popen)
        assert popened.communicate()[0] == b"h1\n"
        assert os.uname().nodename not in lab.nodes

    in_engine(tmp_path, from_yaml(tmp_path, NAMED), 30.0, look)


def test_a_node_that_boots_again_has_its_own_name_again_and_the_guest_gets_its_own_file_back(tmp_path: Path) -> None:
    before = Path("/etc/hosts").read_text()

    async def run() -> None:
        lab = Laboratory(from_yaml(tmp_path, NAMED), NoKeying(), seed=1, options={}, record=Recorder())
        try:
            lab.build()
            await lab.power_on("r1")
            router = lab.router("r1")
            router.run("hostname", "renamed")
            lab.power_off("r1")
            await lab.power_on("r1")
            assert router.run("uname", "-n") == "r1\n"
            assert "10.0.0.1 r1" in router.run("cat", "/etc/hosts").splitlines()
        finally:
            lab.close()

    asyncio.run(run())
    assert Path("/etc/hosts").read_text() == before
