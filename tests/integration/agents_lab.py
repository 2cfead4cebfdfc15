"""Routers as namespaces on one link, each with a real LKS daemon, and a DKS if wanted.

Runs as root in the guest, in virtual time.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from agents.ipsec.protection import RoutingProtocol
from agents.lks.retained import DOCUMENT
from agents.policy.compile import compile_documents
from agents.policy.domain import Domain, Settings
from agents.policy.keys import public_pem, write_private_key, write_public
from testbed.domains.build import domain_of, signed
from testbed.domains.drawn import wired
from testbed.domains.keys import POLICY_SERVER, keys_of
from tests.integration.ipsec_lab import inside, run

KEYS = keys_of(0)
SWITCH = "sw"
OSPF = socket.inet_aton("224.0.0.5")


def wait_for(condition: Callable[[], bool], seconds: float, step_s: float = 0.05) -> bool:
    """Let virtual time pass until this holds. `step_s`: how often is looked, which costs no virtual time but real."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(step_s)
    return condition()


def ip(namespace: str, *words: str) -> str:
    """What `ip` prints in a namespace."""
    return subprocess.run(["ip", "-n", namespace, *words], check=True, capture_output=True, text=True).stdout


class AgentRouter:
    """A namespace, its folder and its daemon."""

    def __init__(self, name: str, number: int, folder: Path) -> None:
        self.name, self.number, self.folder = name, number, folder
        self.interface = f"{name}-e0"
        self.key = KEYS(name)
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "state").mkdir(parents=True)

    @property
    def address(self) -> str:
        return f"10.0.0.{self.number}"

    def start(self, *options: str) -> None:
        """Start the daemon, with these options."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    self.name,
                    sys.executable,
                    "-m",
                    "agents.lks",
                    "run",
                    "--config",
                    self.folder / "lks.toml",
                    *options,
                ],
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """kill -9, as a power failure would; the kernel's state is flushed as it would be too."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
        run("ip", "netns", "exec", self.name, "ip", "xfrm", "state", "flush")
        run("ip", "netns", "exec", self.name, "ip", "xfrm", "policy", "flush")

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `lks` with these words beside the daemon."""
        command = [sys.executable, "-m", "agents.lks", *words, "--config", str(self.folder / "lks.toml")]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What the daemon wrote."""
        path = self.folder / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines]
        return [each for each in found if kind in (None, each["kind"])]

    def log(self) -> str:
        return (self.folder / "log").read_text()


class AgentLab:
    """`names` on one link: two make a point-to-point link, more a LAN. `dks`: the DKS's address."""

    def __init__(self, names: tuple[str, ...], settings: Settings | None = None, dks: str = "192.0.2.1") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="agents."))
        self.routers = {name: AgentRouter(name, number, self.folder / name) for number, name in enumerate(names, 1)}
        self.server = KEYS(POLICY_SERVER)
        run("ip", "link", "add", SWITCH, "type", "bridge", "mcast_snooping", "0")
        run("ip", "link", "set", SWITCH, "up")
        for router in self.routers.values():
            run("ip", "netns", "add", router.name)
            run("ip", "link", "add", f"p-{router.name}", "type", "veth", "peer", "name", router.interface)
            run("ip", "link", "set", router.interface, "netns", router.name)
            run("ip", "link", "set", f"p-{router.name}", "master", SWITCH, "up")
            for command in (
                f"link set {router.interface} up",
                "link set lo up",
                f"addr add {router.address}/24 dev {router.interface}",
            ):
                run("ip", "-n", router.name, *command.split())
        self.domain = self._provision(settings or Settings(validity_s=1 << 33), IPv4Address(dks))

    def _provision(self, settings: Settings, dks: IPv4Address) -> Domain:
        topology = wired({"link": tuple(self.routers)}, (RoutingProtocol.OSPF,))
        domain = domain_of(topology, KEYS, dks, settings)
        for name, octets in signed(compile_documents(domain, 1, 0), self.server).items():
            router = self.routers[name]
            write_private_key(router.folder / "identity.pem", router.key)
            write_public(router.folder / "policy-server.pem", public_pem(self.server))
            write_public(router.folder / "state" / DOCUMENT, octets)
            (router.folder / "lks.toml").write_text(
                f'name = "{name}"\ndomain = "example"\nidentity = "identity.pem"\n'
                'policy_server_key = "policy-server.pem"\nstate_dir = "state"\nevents = "events"\n'
                'socket = "lks.sock"\n'
            )
        return domain

    def close(self) -> None:
        """Take everything down."""
        for router in self.routers.values():
            if router.process is not None:
                router.process.kill()
                router.process.wait()
            run("ip", "link", "del", f"p-{router.name}")  # a namespace goes in its own time
            run("ip", "netns", "del", router.name)
        run("ip", "link", "del", SWITCH)

    def keyed(self) -> bool:
        """Whether every router's newest process says that it is keyed with all others."""
        for router in self.routers.values():
            events = router.events()
            starts = [index for index, each in enumerate(events) if each["kind"] == "started"]
            if not starts:
                return False
            names = {each["neighbor"] for each in events[starts[-1] :] if each["kind"] == "keyed"}
            if names != set(self.routers) - {router.name}:
                return False
        return True

    def passes(self, sender: str, receiver: str, count: int = 3) -> int:
        """How many of `count` OSPF packets to 224.0.0.5 the receiver's raw socket gets."""
        there = self.routers[receiver]
        local = socket.inet_aton(there.address)

        def listen() -> socket.socket:
            opened = socket.socket(socket.AF_INET, socket.SOCK_RAW, 89)
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, OSPF + local)
            opened.settimeout(0.5)
            return opened

        here = self.routers[sender]

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, 89) as opened:
                opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(here.address))
                for number in range(count):
                    try:
                        opened.sendto(struct.pack("!I", number), ("224.0.0.5", 0))
                    except PermissionError:
                        return  # blocked by policy: nothing may leave unprotected

        got = 0
        with inside(receiver, listen) as opened:
            inside(sender, send)
            try:
                while got < count:
                    packet = opened.recv(2048)
                    got += packet[12:16] == socket.inet_aton(here.address)
            except TimeoutError:
                pass
        return got
