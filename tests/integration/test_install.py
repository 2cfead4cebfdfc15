"""The page on installing, walked through: its commands in its order, on two routers with FRR, without Mininet."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.ipsec.protection import RoutingProtocol
from tests.integration.ipsec_lab import SWITCH, Link

pytestmark = pytest.mark.guest

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "install.md"
BLOCK = re.compile(r"<!-- (?P<where>on [^>]*?|copies) -->\n```\n(?P<text>.*?)```", re.DOTALL)
PLACES = (
    "/etc/router-keys",
    "/var/lib/router-keys",
    "/run/router-keys",
    "/srv/documents",
    "/tmp/keys",
)
OSPF = RoutingProtocol.OSPF
EXPOSURE = {"lks": 21, "dks": 17, "policy": 13}
"""Tenths of what `systemd-analyze security` says at most."""

CLOSED = """\
nft -f - <<END
table inet filter {{
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    {rules}
  }}
}}
END
"""
"""A firewall that drops what it does not know, with the page's rules: all that follows has to get through it."""

SYSTEMCTL = '''
"""Starts and stops what a unit's ExecStart says, and waits for READY=1 where the unit is of Type=notify."""
import configparser, os, re, shlex, signal, socket, subprocess, sys, time
from pathlib import Path

root, units = Path(os.environ["ROOT"]), Path(os.environ["UNITS"])
verb, unit = sys.argv[1], sys.argv[-1]
if unit == "frr":
    sys.exit(0)  # the test starts it
parser = configparser.ConfigParser(strict=False)
parser.optionxform = str
parser.read(units / f"{unit}.service")
service = parser["Service"]
words = [re.sub("^/etc", f"{root}/etc", word) for word in shlex.split(service["ExecStart"])]
words[0] = f"{os.environ['STUBS']}/{Path(words[0]).name}"
mark = root / f"{unit}.pid"
if verb in ("restart", "disable") and mark.exists():
    pid = int(mark.read_text())
    os.kill(pid, signal.SIGTERM)
    def runs():
        try:
            return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
        except OSError:  # it ended while it was looked at
            return False

    while runs():
        time.sleep(0.01)
    mark.unlink()
if verb == "disable":
    sys.exit(0)
if service.get("Type") == "oneshot":
    sys.exit(subprocess.call(words))
environment = dict(os.environ)
if service.get("Type") == "notify":
    path = str(root / f"{unit}.notify")
    Path(path).unlink(missing_ok=True)
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.bind(path)
    notices.settimeout(10)
    environment["NOTIFY_SOCKET"] = path
with open(root / f"{unit}.log", "ab") as log:
    process = subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True)
mark.write_text(str(process.pid))
if service.get("Type") == "notify":
    assert b"READY=1" in notices.recv(256)
else:
    time.sleep(1)
    assert process.poll() is None, (root / f"{unit}.log").read_text()
'''


class Machines:
    """A folder for each machine that stands for its root, and programs that stand before the real ones."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.stubs = folder, folder / "bin"
        self.stubs.mkdir()
        for name, command in {
            "lks": f"exec {sys.executable} -m agents.lks",
            "dks": f"exec {sys.executable} -m agents.dks",
            "policy": f"exec {sys.executable} -m agents.policy",
            "systemctl": f"exec {sys.executable} {self.stubs}/systemctl.py",
            "hostname": "echo $NODE; exit",
            "chown": "true",  # a machine of the test has no users of its own
            "vtysh": "exec /usr/bin/vtysh -N $NODE",
        }.items():
            file = self.stubs / name
            file.write_text(f'#!/bin/sh\n{command} "$@"\n')
            file.chmod(0o755)
        (self.stubs / "systemctl.py").write_text(SYSTEMCTL)

    def path(self, node: str, place: str) -> Path:
        return Path(f"{self.folder}/{node}{place}")

    def run(self, node: str, text: str) -> str:
        """Run a block of the page on a machine; what it printed. AssertionError when a command fails."""
        for place in PLACES:
            text = text.replace(place, str(self.path(node, place)))
            self.path(node, place).parent.mkdir(parents=True, exist_ok=True)
        text = text.replace('state_dir = "/var', f'state_dir = "{self.folder}/{node}/var')
        environment = {
            **os.environ, "PATH": f"{self.stubs}:{os.environ['PATH']}", "NODE": node, "ROOT": f"{self.folder}/{node}",
            "STUBS": str(self.stubs), "UNITS": str(PROJECT / "packaging" / "systemd"),
        }  # fmt: skip
        namespace = {"dks": SWITCH}.get(node, node)
        before = [] if node == "policy" else ["ip", "netns", "exec", namespace]
        done = subprocess.run(
            [*before, "bash", "-euo", "pipefail", "-c", text],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"on {node}:\n{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def copy(self, line: str) -> None:
        """A line of the table of copies: FILE   NODE, NODE: PLACE."""
        source, rest = line.split(maxsplit=1)
        nodes, place = rest.split(":")
        for node in nodes.split(","):
            target = self.path(node.strip(), place.strip())
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.endswith("/"):
                shutil.copytree(self.path("policy", source), target, dirs_exist_ok=True)
            else:
                shutil.copy(self.path("policy", source), target)

    def carry_keys(self) -> None:
        keys = self.path("policy", "/tmp/keys")
        keys.mkdir(parents=True)
        for node in ("r1", "r2", "dks"):
            shutil.copy(self.path(node, "/etc/router-keys/identity.pub"), keys / f"{node}.pub")

    def close(self) -> None:
        for mark in self.folder.glob("*/*.pid"):
            subprocess.run(["kill", "-KILL", mark.read_text()], check=False)


@pytest.fixture
def link() -> Iterator[Link]:
    found = Link("p2p", 2)
    try:
        yield found
    finally:
        found.close()


def wait_full(link: Link, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not all(link.full_neighbors(router, OSPF) == 1 for router in link.routers):
        assert time.monotonic() < until, "no adjacency"
        time.sleep(0.2)


def changes(link: Link) -> list[str]:
    """Every change of an adjacency that FRR wrote down."""
    lines = [line for router in link.routers
             for line in (link.folder / router.name / "ospfd.log").read_text().splitlines()]  # fmt: skip
    return [line for line in lines if "AdjChg" in line]


def test_the_commands_of_the_page_protect_ospf_survive_an_upgrade_and_go_back(link: Link, tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    done: list[str] = []
    try:
        for block in BLOCK.finditer(PAGE.read_text()):
            where, _, remark = block["where"].removeprefix("on ").partition(";")
            text, remark = block["text"], remark.strip()
            if remark == "packages":
                continue  # tests/laboratory/test_systemd.py installs them
            done.append(remark or where)
            if where == "copies":
                for line in text.splitlines():
                    machines.copy(line)
                continue
            if where == "policy":
                machines.carry_keys()
            if remark == "output":
                link.start_frr([OSPF])
                wait_full(link)
            before = changes(link) if remark == "one after the other" else []
            outputs = []
            if remark == "rules":
                text = CLOSED.format(rules=text)
            for node in where.split(","):
                outputs.append(machines.run(node.strip(), text))
                if remark == "one after the other":
                    time.sleep(6)  # longer than the dead interval of 4 s, and than the delays of a change of keys
            if remark == "output":
                for output in outputs:
                    assert "keyed" in output and "dst 224.0.0.5" in output and "Full/" in output
                for router in ("r1", "r2"):
                    asked = (
                        "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9848/metrics').read().decode())"
                    )
                    metrics = machines.run(router, f'{sys.executable} -c "{asked}"')
                    (keyed,) = re.findall(r"^lks_neighbor_keyed\{.*\} (\S+)$", metrics, re.MULTILINE)
                    assert keyed == "1.0" and 'lks_xfrm_errors_total{counter="XfrmInNoStates"}' in metrics
                    liked = subprocess.run(["promtool", "check", "metrics"], input=metrics, text=True, check=False)
                    assert liked.returncode == 0
                captured = link.capture()
                time.sleep(3)
                link.end_captures()
                shown = subprocess.run(
                    ["tcpdump", "-nr", str(captured)], check=True, capture_output=True, text=True
                ).stdout
                assert "ESP" in shown and "OSPF" not in shown
            if remark == "one after the other":
                assert before and changes(link) == before
                assert all(link.full_neighbors(router, OSPF) == 1 for router in link.routers)
        assert done[-2:] == ["one after the other", "going back"]
        time.sleep(6)
        wait_full(link)  # in clear
        for router in link.routers:
            assert (
                subprocess.run(["ip", "-n", router.name, "xfrm", "state"], capture_output=True, check=True).stdout
                == b""
            )
    finally:
        machines.close()


def test_the_units_are_what_systemd_understands_and_are_confined(tmp_path: Path) -> None:
    units = []
    for unit in sorted((PROJECT / "packaging" / "systemd").glob("*.service")):
        text = re.sub("(?m)^ExecStart=/opt/router-keys/bin/", "ExecStart=/usr/bin/env ", unit.read_text())
        (tmp_path / unit.name).write_text(text)
        units.append(str(tmp_path / unit.name))
    assert len(units) == 4
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    for unit in units:
        confined = subprocess.run(
            [
                "systemd-analyze",
                "security",
                "--offline=true",
                f"--threshold={EXPOSURE.get(Path(unit).stem, 100)}",
                unit,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert confined.returncode == 0, confined.stdout + confined.stderr
