"""A small net of namespaces for the IPsec tests: routers on one link, keys, FRR, a capture.

Runs as root in the guest, in virtual time: letting time pass costs nothing there.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import TypeVar

from agents.ipsec.model import Wanted
from agents.ipsec.plan import wanted_state
from agents.ipsec.protection import (
    GroupSa,
    IPAddress,
    LinkKind,
    Mode,
    ProtectedInterface,
    RoutingProtocol,
    Suite,
)
from agents.ipsec.reconciler import Reconciler
from agents.ipsec.xfrm import Xfrm

T = TypeVar("T")
INTERFACE = "e0"
SWITCH = "sw"
FRR = Path("/usr/lib/frr")


def run(*command: str) -> str:
    """Run a command; its output. CalledProcessError, with its words, when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def inside(namespace: str, job: Callable[[], T]) -> T:
    """What `job` gives when run by a thread inside a network namespace."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def enter() -> None:
        descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000):
                raise OSError(ctypes.get_errno(), f"setns {namespace}")
            outcome.append(job())
        except OSError as error:
            failure.append(error)
        finally:
            os.close(descriptor)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def pass_time(seconds: float) -> None:
    """Let virtual time pass."""
    time.sleep(seconds)


def let_links_settle() -> None:
    """Let the kernel's link watch, which acts at most once a second, see every carrier."""
    pass_time(2.5)


@dataclass
class Router:
    """One namespace with one interface on the link."""

    name: str
    number: int
    daemons: list[str] = field(default_factory=list)

    @property
    def ipv4(self) -> IPv4Address:
        return IPv4Address(f"10.0.0.{self.number}")

    @property
    def ipv6(self) -> IPv6Address:
        return IPv6Address(f"fe80::ff:fe00:{self.number}")

    @property
    def mac(self) -> str:
        return f"02:00:00:00:00:{self.number:02x}"

    def address(self, protocol: RoutingProtocol) -> IPAddress:
        return self.ipv4 if protocol.family == socket.AF_INET else self.ipv6

    def xfrm_stat(self) -> dict[str, int]:
        """The namespace's /proc/net/xfrm_stat, what is not zero."""
        text = inside(self.name, lambda: Path("/proc/thread-self/net/xfrm_stat").read_text())
        rows = (line.split() for line in text.splitlines())
        return {name: int(value) for name, value in rows if int(value)}

    def ask(self, daemon: str, command: str) -> str:
        """What a daemon answers on its vty socket."""
        with socket.socket(socket.AF_UNIX) as vty:
            vty.connect(f"/run/frr/{self.name}/{daemon}.vty")
            answer = b""
            for line in ("enable", command):
                vty.sendall(line.encode() + b"\0")
                answer = b""
                while answer[-4:-1] != b"\0\0\0":
                    piece = vty.recv(65536)
                    if not piece:
                        raise ConnectionError(f"{daemon} of {self.name} closed its vty")
                    answer += piece
            return answer[:-4].decode()

    def ask_json(self, daemon: str, command: str) -> dict:
        return json.loads(self.ask(daemon, command + " json"))


class Link:
    """Routers r1, r2, … on a veth pair ("p2p", two of them) or a bridge ("lan")."""

    def __init__(self, kind: LinkKind, routers: int) -> None:
        self.kind = kind
        # Not pytest's folder: FRR's daemons run as another user and must reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="ipsec-lab-"))
        self.folder.chmod(0o777)
        self.routers = [Router(f"r{number}", number) for number in range(1, routers + 1)]
        self._captures: list[subprocess.Popen[bytes]] = []
        self._rogue = False
        for name in (*(router.name for router in self.routers), SWITCH):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        if kind == "p2p":
            first, second = self.routers
            run("ip", "-n", first.name, "link", "add", INTERFACE, "type", "veth",
                "peer", "name", INTERFACE, "netns", second.name)  # fmt: skip
        else:
            run("ip", "-n", SWITCH, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
            run("ip", "netns", "exec", SWITCH, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            run("ip", "-n", SWITCH, "link", "set", "br0", "up")
            for router in self.routers:
                self.plug(router.name)
        for router in self.routers:
            self._address(router)
        let_links_settle()

    def plug(self, name: str) -> None:
        """Join a namespace's new interface to the bridge."""
        port = f"p-{name}"
        run("ip", "-n", name, "link", "add", INTERFACE, "type", "veth", "peer", "name", port,
            "netns", SWITCH)  # fmt: skip
        run("ip", "-n", SWITCH, "link", "set", port, "master", "br0", "up")

    def plug_rogue(self) -> None:
        """Add the namespace "rogue", a stranger at 10.0.0.66 on the bridge."""
        run("ip", "netns", "add", "rogue")
        self._rogue = True
        self.plug("rogue")
        self._address(Router("rogue", 66))
        let_links_settle()

    def _address(self, router: Router) -> None:
        name = router.name
        for setting in (f"net.ipv6.conf.{INTERFACE}.accept_dad=0", "net.ipv4.ip_forward=1"):
            run("ip", "netns", "exec", name, "sysctl", "-qw", setting)
        run("ip", "-n", name, "link", "set", INTERFACE, "address", router.mac)
        run("ip", "-n", name, "addr", "add", f"{router.ipv4}/24", "dev", INTERFACE)
        run("ip", "-n", name, "addr", "add", f"1.1.1.{router.number}/32", "dev", "lo")
        run("ip", "-n", name, "link", "set", INTERFACE, "up")

    # -- keys

    def interfaces(
        self, router: Router, protocols: Iterable[RoutingProtocol], mode: Mode = Mode.REQUIRED
    ) -> list[ProtectedInterface]:
        return [
            ProtectedInterface(
                name=INTERFACE,
                protocol=protocol,
                mode=mode,
                link=self.kind,
                local=router.address(protocol),
                subnet=ip_network("10.0.0.0/24" if protocol.family == 2 else "fe80::/10"),
                neighbors=tuple(other.address(protocol) for other in self.routers if other is not router),
            )
            for protocol in protocols
        ]

    def keys(
        self,
        router: Router,
        protocols: Iterable[RoutingProtocol],
        generation: int = 1,
        active: bool = True,
        floor: int = 0,
        suite: Suite = Suite.ESP_AES128_SHA256,
    ) -> list[GroupSa]:
        """Every key of one generation that this router holds: its own, and to hear the others."""
        out = []
        for protocol in protocols:
            for speaker in self.routers:
                destinations = list(protocol.multicast_destinations(self.kind))
                if protocol.unicast_on(self.kind):
                    destinations += [other.address(protocol) for other in self.routers if other is not speaker]
                for index, destination in enumerate(destinations):
                    mine = speaker is router
                    if not (mine or destination.is_multicast or destination == router.address(protocol)):
                        continue
                    spi = 0x10000 + (speaker.number << 12) + (index << 8) + (generation & 0xFF)
                    spi += list(RoutingProtocol).index(protocol) << 20
                    out.append(
                        GroupSa(
                            spi=spi,
                            suite=suite,
                            keymat=sha256(b"%d" % spi).digest()[:16] * 4
                            if suite is Suite.ESP_AES256_SHA256
                            else (sha256(b"%d" % spi).digest() * 2)[: suite.keymat_bytes],
                            speaker=speaker.address(protocol),
                            destination=destination,
                            protocol=protocol,
                            interface=INTERFACE,
                            outbound=mine,
                            generation=generation,
                            active=active,
                            replay_floor=0 if mine else floor,
                        )
                    )
        return out

    def protect(
        self,
        router: Router,
        protocols: Iterable[RoutingProtocol],
        keys: Iterable[GroupSa],
        mode: Mode = Mode.REQUIRED,
        spoil: Callable[[Wanted], Wanted] = lambda wanted: wanted,
    ) -> None:
        """Bring a router's kernel to the plan for these keys."""
        wanted = spoil(wanted_state(self.interfaces(router, protocols, mode), keys))
        with Xfrm(f"/run/netns/{router.name}") as xfrm:
            Reconciler(xfrm).apply(wanted)

    # -- what goes over the wire

    def capture(self) -> Path:
        """Start to capture all that goes over the link; the pcap file that will hold it."""
        namespace, device = (SWITCH, "any") if self.kind == "lan" else ("r1", INTERFACE)
        path = self.folder / f"link-{len(self._captures)}.pcap"
        log = open(self.folder / "tcpdump.log", "wb")  # noqa: SIM115 -- the child keeps it
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, "tcpdump", "-i", device, "-U", "-Z", "root",
             "--immediate-mode", "-s", "0", "-w", str(path)],
            stdout=log, stderr=log,
        )  # fmt: skip
        log.close()
        self._captures.append(process)
        while not (path.exists() and path.stat().st_size >= 24):
            if process.poll() is not None:
                raise RuntimeError((self.folder / "tcpdump.log").read_text())
            pass_time(0.05)
        return path

    def end_captures(self) -> None:
        for process in self._captures:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait()

    # -- FRR

    def start_frr(self, protocols: Iterable[RoutingProtocol]) -> None:
        """Start the daemons of these protocols in every router."""
        daemons = {RoutingProtocol.OSPF: "ospfd", RoutingProtocol.OSPF6: "ospf6d",
                   RoutingProtocol.PIM: "pimd"}  # fmt: skip
        for router in self.routers:
            run_folder = Path("/run/frr", router.name)
            for folder in (run_folder.parent, run_folder):
                folder.mkdir(exist_ok=True)
                shutil.chown(folder, "frr", "frr")
            for daemon in ("mgmtd", "zebra", *(daemons[protocol] for protocol in protocols)):
                self._start_daemon(router, daemon)

    def _start_daemon(self, router: Router, daemon: str) -> None:
        folder = self.folder / router.name
        folder.mkdir(exist_ok=True)
        config = folder / f"{daemon}.conf"
        config.write_text(self._config(router, daemon))
        for path in (folder, config):
            path.chmod(0o777)
        command = ["ip", "netns", "exec", router.name, str(FRR / daemon), "-d", "-N", router.name,
                   "-u", "frr", "-g", "frr", "-P", "0", "--log", f"file:{folder}/{daemon}.log"]  # fmt: skip
        if daemon != "mgmtd":
            command += ["-f", str(config)]
        with open(folder / f"{daemon}.out", "wb") as out:
            subprocess.run(command, stdout=out, stderr=out, check=True)
        router.daemons.append(daemon)

    def _config(self, router: Router, daemon: str) -> str:
        point = self.kind == "p2p"
        if daemon == "ospfd":
            network = " ip ospf network point-to-point\n" if point else ""
            return (
                f"interface {INTERFACE}\n ip ospf area 0\n ip ospf hello-interval 1\n"
                f" ip ospf dead-interval 4\n{network}!\nrouter ospf\n"
                f" ospf router-id 1.1.1.{router.number}\n log-adjacency-changes detail\n"
                f" redistribute connected\n"
            )
        if daemon == "ospf6d":
            network = " ipv6 ospf6 network point-to-point\n" if point else ""
            return (
                f"interface {INTERFACE}\n ipv6 ospf6 area 0\n ipv6 ospf6 hello-interval 1\n"
                f" ipv6 ospf6 dead-interval 4\n{network}!\nrouter ospf6\n"
                f" ospf6 router-id 1.1.1.{router.number}\n log-adjacency-changes\n"
            )
        if daemon == "pimd":
            return f"interface {INTERFACE}\n ip pim\n ip pim hello 1\n"
        return ""

    def full_neighbors(self, router: Router, protocol: RoutingProtocol) -> int:
        """How many neighbours are Full or, on a LAN, 2-Way between two that are no DR."""
        if protocol is RoutingProtocol.OSPF:
            found = router.ask_json("ospfd", "show ip ospf neighbor")["neighbors"]
            rows = [row for rows in found.values() for row in rows]
            states = [row.get("nbrState") or row.get("state") for row in rows]
            return sum(state.startswith(("Full", "2-Way/DROther")) for state in states)
        if protocol is RoutingProtocol.OSPF6:
            rows = router.ask_json("ospf6d", "show ipv6 ospf6 neighbor")["neighbors"]
            done = [row for row in rows if row["state"] == "Full" or
                    (row["state"] == "Twoway" and row["ifState"] == "DROther")]  # fmt: skip
            return len(done)
        found = router.ask_json("pimd", "show ip pim neighbor")
        return len(found.get(INTERFACE, {}))

    def close(self) -> None:
        """End what was started and take the namespaces away."""
        self.end_captures()
        for router in self.routers:
            for daemon in reversed(router.daemons):
                pid = Path("/run/frr", router.name, f"{daemon}.pid")
                if pid.exists():
                    os.kill(int(pid.read_text()), signal.SIGKILL)
                    pid.unlink()
            run("ip", "netns", "del", router.name)
        for name in (SWITCH, "rogue") if self._rogue else (SWITCH,):
            run("ip", "netns", "del", name)
        shutil.rmtree(self.folder)
