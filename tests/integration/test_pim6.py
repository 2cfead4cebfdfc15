"""IPv6 multicast: pim6d and MLD of three routers, OSPFv3 beneath, all keyed by LKSs. In the guest."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from net_lab import from_yaml

from testbed.keying.agents import LksKeying
from testbed.net.laboratory import Laboratory
from testbed.record.writer import Recorder

pytestmark = pytest.mark.guest

LINE = """
name: pim6
ospf: {versions: [2, 3]}
pim: {rp: r2, ipv6: true}
links: [r1-r2, r2-r3]
hosts:
  src: {on: r1}
  sink: {on: r3}
"""
SPECIFIC, ANY = "ff3e::1234", "ff1e::1234"
SEND = """
import socket, sys, time
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 16)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(sys.argv[1]))
    s.bind((sys.argv[2], 0))
    for number in range(40):
        s.sendto(sys.argv[3].encode(), (sys.argv[3], 5000))
        time.sleep(0.5)
"""
LISTEN = """
import socket, struct, sys
def address(text):
    return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, text), 0).ljust(128, bytes(1))
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
    s.bind(("::", 5000))
    index = struct.pack("=I4x", socket.if_nametoindex(sys.argv[1]))
    s.setsockopt(socket.IPPROTO_IPV6, 46, index + address(sys.argv[3]) + address(sys.argv[2]))  # MCAST_JOIN_SOURCE_GROUP
    s.setsockopt(socket.IPPROTO_IPV6, 42, index + address(sys.argv[4]))  # MCAST_JOIN_GROUP
    while True:
        print(s.recv(100).decode(), flush=True)
"""


async def until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.1)


@contextmanager
def running(*processes: subprocess.Popen[Any]) -> Any:
    try:
        yield
    finally:
        for each in processes:
            each.kill()
            each.wait()


def test_ipv6_multicast_flows_over_keyed_routers_and_nothing_of_pim_is_in_clear(tmp_path: Path) -> None:
    async def run() -> None:
        lab = Laboratory(from_yaml(tmp_path, LINE), LksKeying(), seed=1, options={}, record=Recorder())

        def start(node: str, *words: str, **options: Any) -> subprocess.Popen[Any]:
            with lab.node(node).namespace():
                return subprocess.Popen(words, **options)

        try:
            lab.build()
            wire = tmp_path / "wire.pcap"
            for name in lab.nodes:
                await lab.power_on(name)
            dump = start("r2", "tcpdump", "-i", "any", "-U", "-w", str(wire), stderr=subprocess.DEVNULL)
            stub = {host: next(e.name for e in lab.topology.routers[r].interfaces if e.kind == "stub")
                    for host, r in (("src", "r1"), ("sink", "r3"))}
            for router, host, net in (("r1", "src", "fd01"), ("r3", "sink", "fd03")):
                lab.node(router).run("ip", "-6", "address", "add", f"{net}::1/64", "dev", stub[host])
                own = lab.topology.hosts[host].interface
                lab.node(host).run("ip", "-6", "address", "add", f"{net}::2/64", "dev", own)
                lab.node(host).run("ip", "-6", "route", "add", "default", "via", f"{net}::1")
            await lab.ready([router.name for router in lab.routers])
            heard = tmp_path / "heard"
            with heard.open("w") as output:
                ear = start("sink", sys.executable, "-c", LISTEN, lab.topology.hosts["sink"].interface, "fd01::2", SPECIFIC, ANY, stdout=output)
            await asyncio.sleep(60)
            mouths = [start("src", sys.executable, "-c", SEND, lab.topology.hosts["src"].interface, "fd01::2", group) for group in (SPECIFIC, ANY)]
            with running(dump, ear, *mouths):
                await asyncio.sleep(25)
            for r in ("r1", "r2", "r3"):
                for c in ("show ipv6 pim neighbor", "show ipv6 pim upstream", "show ipv6 mroute", "show ipv6 mld groups", "show ipv6 route", "show ipv6 pim rp-info"):
                    print(r, c, subprocess.run(lab.node(r).frr.vtysh("-c", c), capture_output=True, text=True).stdout)
                print(lab.node(r).run("ip", "-6", "mroute"), lab.log_file(r, "x").parent)
            for w in ("ip6 proto 103", "ip6 proto 89", "ip proto 103", "ip proto 89", "esp", "ip6 and esp"):
                print(w, subprocess.run(["tcpdump", "-nr", str(wire), w], capture_output=True, text=True).stdout[:600])
            words = heard.read_text().split()
            print({group: words.count(group) for group in set(words)})
            assert 0
        finally:
            lab.close()

    asyncio.run(run())
