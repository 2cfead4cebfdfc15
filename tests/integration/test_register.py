"""PIM Registers over several hops: pimd, kernel and LKSs of four routers, a source and a listener. In the guest."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from net_lab import from_yaml

from testbed.keying.agents import LksKeying
from testbed.keying.base import Keying
from testbed.keying.none import NoKeying
from testbed.net.laboratory import Laboratory
from testbed.record.writer import Recorder

pytestmark = pytest.mark.guest

LINE = """
name: register
pim: {rp: r3}
links: [r1-r2, r2-r3, r3-r4]
hosts:
  src: {on: r1}
  sink: {on: r4}
"""
SEND = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 16)
    for number in range(20):
        s.sendto(sys.argv[1].encode(), (sys.argv[2], 5000))
        time.sleep(0.5)
"""
LISTEN = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.bind(("", 5000))
    for group in ("239.1.1.1", "239.2.2.2"):
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + bytes(4))
    while True:
        print(s.recv(100).decode(), flush=True)
"""
UNICAST_PIM = "ip proto 103 and not dst net 224.0.0.0/4"


class Scene:
    """The laboratory, with a capture between r2 and r3, which no Register can go around."""

    def __init__(self, lab: Laboratory, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.topology = lab.topology
        self.point = str(self.topology.routers["r3"].loopback.ip)
        stub = next(each for each in self.topology.routers["r1"].interfaces if each.kind == "stub" and each.pim)
        self.first_hop = str(stub.ipv4.ip)
        self._running: list[subprocess.Popen[Any]] = []

    def start(self, node: str, *words: str, **options: Any) -> subprocess.Popen[Any]:
        with self.lab.node(node).namespace():
            self._running.append(subprocess.Popen(words, **options))
        return self._running[-1]

    def capture(self) -> Path:
        path = self.folder / f"{len(self._running)}.pcap"
        self.start("r2", "tcpdump", "-i", "r2-eth1", "-U", "-w", str(path), stderr=subprocess.DEVNULL)
        return path

    def captured(self, path: Path, what: str) -> list[str]:
        done = subprocess.run(["tcpdump", "-nr", path, what], check=True, capture_output=True, text=True)
        return done.stdout.splitlines()

    def events(self, node: str, kind: str) -> list[dict[str, Any]]:
        lines = self.lab.events_file(node).read_text().splitlines()
        return [each for each in map(json.loads, lines) if each["kind"] == kind]

    def count(self, node: str, counter: str) -> int:
        lines = self.lab.node(node).run("cat", "/proc/net/xfrm_stat").splitlines()
        return next(int(line.split()[1]) for line in lines if line.split()[0] == counter)

    def dropped(self, node: str) -> int:
        return sum(self.count(node, f"Xfrm{name}") for name in ("InTmplMismatch", "InPolBlock", "InStateMismatch"))

    def keyed(self) -> bool:
        return all(
            self.events(node, "pair")[-1:] and self.events(node, "pair")[-1]["state"] == "keyed"
            for node in ("r1", "r4")
        )

    def stop(self) -> None:
        for each in self._running:
            each.kill()
            each.wait()


async def until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.1)


def play(folder: Path, story: Callable[[Scene], Any], keying: Keying | None = None) -> None:
    async def run() -> None:
        lab = Laboratory(from_yaml(folder, LINE), keying or LksKeying(), seed=1, options={}, record=Recorder())
        scene = Scene(lab, folder)
        try:
            lab.build()
            for name in lab.nodes:
                await lab.power_on(name)
            await lab.ready([router.name for router in lab.routers])
            if keying is None:
                await until(scene.keyed)
            await asyncio.sleep(60)  # hellos, and the listener's way to the rendezvous point
            await story(scene)
        finally:
            scene.stop()
            lab.close()

    asyncio.run(run())


async def stream(scene: Scene, word: str, heard: Path, group: str = "239.1.1.1") -> None:
    """The source speaks for ten seconds; all that it says after the first seconds is heard."""
    scene.start("src", sys.executable, "-c", SEND, word, group)
    await asyncio.sleep(15)
    assert heard.read_text().split().count(word) >= 15, heard.read_text()


def register(source: str, destination: str) -> bytes:
    """An IP packet with a Register of (10.32.0.2, 239.9.9.9) in it, whose PIM checksum is right."""
    inner = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 16, 17, 0, IPv4Address("10.32.0.2").packed, IPv4Address("239.9.9.9").packed
    )
    header = struct.pack("!BBHI", 0x21, 0, 0, 0)
    checksum = 0xFFFF - sum(struct.unpack("!4H", header)) % 0xFFFF
    body = struct.pack("!BBHI", 0x21, 0, checksum, 0) + inner + bytes(8)
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    return struct.pack("!BBHHHBBH", 0x45, 0xC0, 20 + len(body), 0, 0, 64, 103, 0) + addresses + body


def send_raw(scene: Scene, node: str, packet: bytes, count: int) -> None:
    with scene.lab.node(node).namespace(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as opened:
        for _ in range(count):
            opened.sendto(packet, (str(IPv4Address(packet[16:20])), 0))


def listener(scene: Scene, node: str) -> socket.socket:
    """Hears what pimd hears: raw sockets are given packets after the policies have been asked."""
    with scene.lab.node(node).namespace():
        opened = socket.socket(socket.AF_INET, socket.SOCK_RAW, 103)
    opened.setblocking(False)
    return opened


def unicast_heard(opened: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            packet = opened.recv(2048)
        except BlockingIOError:
            return found
        if packet[16] < 224:
            found.append(packet)


def test_registers_are_protected_end_to_end_forged_ones_dropped_and_all_comes_back_after_a_power_cycle(
    tmp_path: Path,
) -> None:
    async def story(scene: Scene) -> None:
        wire = scene.capture()
        heard = tmp_path / "heard"
        with heard.open("w") as output:
            scene.start("sink", sys.executable, "-c", LISTEN, stdout=output)
        await asyncio.sleep(10)

        # A Register reaches the rendezvous point, and the data the listener by way of it.
        with closing(listener(scene, "r3")) as ear:
            await stream(scene, "first", heard)
            registers = unicast_heard(ear)
            assert registers and {packet[12:16] for packet in registers} == {IPv4Address(scene.first_hop).packed}

            # Forged ones do not: in clear, from an address of one's own, and under one's own pair's keys. A packet
            # counts as dropped for every raw socket and protocol handler that would have had it.
            for node, source in (("sink", scene.first_hop), ("sink", "10.32.0.6"), ("r4", scene.first_hop)):
                before = scene.dropped("r3")
                send_raw(scene, node, register(source, scene.point), 5)
                await asyncio.sleep(1)
                assert unicast_heard(ear) == []
                assert scene.dropped("r3") - before >= 5, (node, source)

        # The other way round: a forged Register-Stop does not reach the first-hop router, whatever address it has.
        with closing(listener(scene, "r1")) as ear:
            for address in (scene.first_hop, str(scene.topology.routers["r1"].loopback.ip)):
                before = scene.dropped("r1")
                send_raw(scene, "r2", register(scene.point, address), 5)
                await asyncio.sleep(1)
                assert unicast_heard(ear) == []
                assert scene.dropped("r1") - before >= 5, address

        # The first-hop router loses its power.
        scene.lab.power_off("r1")
        await asyncio.sleep(10)
        await scene.lab.power_on("r1")
        await scene.lab.ready(["r1"])
        await until(scene.keyed)
        await asyncio.sleep(60)
        again = scene.capture()
        await asyncio.sleep(1)
        # Another group: of the first one the rendezvous point knows the source already, and joins towards it.
        await stream(scene, "second", heard, "239.2.2.2")

        spis = set()
        for path in (wire, again):
            # The forger's own copies came by another link.
            assert scene.captured(path, f"{UNICAST_PIM} and src {scene.first_hop}") == []
            registers_seen = scene.captured(path, f"esp and src {scene.first_hop} and dst {scene.point}")
            assert registers_seen, path
            assert scene.captured(path, f"esp and src {scene.point} and dst {scene.first_hop}")
            spis |= {line.split("spi=")[1].split(",")[0] for line in registers_seen}
        assert len(spis) == 2, "the router has new keys after the power cycle"

    play(tmp_path, story)


def test_there_is_unicast_pim_in_clear_on_the_wire_when_nothing_protects_it(tmp_path: Path) -> None:
    """So that its absence above says something."""

    async def story(scene: Scene) -> None:
        wire = scene.capture()
        heard = tmp_path / "heard"
        with heard.open("w") as output:
            scene.start("sink", sys.executable, "-c", LISTEN, stdout=output)
        await asyncio.sleep(10)
        await stream(scene, "clear", heard)
        assert scene.captured(wire, f"{UNICAST_PIM} and src {scene.first_hop} and dst {scene.point}")

    play(tmp_path, story, NoKeying())
