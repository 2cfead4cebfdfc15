"""IPv6 multicast: pim6d and MLD of three routers, OSPFv3 beneath, all keyed by LKSs. In the guest."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.keying.agents import LksKeying
from testbed.net.laboratory import Laboratory
from testbed.record.writer import Recorder
from testbed.topology.load import load

pytestmark = pytest.mark.guest

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
    octets = socket.inet_pton(socket.AF_INET6, text)
    return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, octets, 0).ljust(128, bytes(1))
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
    s.bind(("::", 5000))
    index = struct.pack("=I4x", socket.if_nametoindex(sys.argv[1]))
    # MCAST_JOIN_SOURCE_GROUP and MCAST_JOIN_GROUP
    s.setsockopt(socket.IPPROTO_IPV6, 46, index + address(sys.argv[3]) + address(sys.argv[2]))
    s.setsockopt(socket.IPPROTO_IPV6, 42, index + address(sys.argv[4]))
    while True:
        print(s.recv(100).decode(), flush=True)
"""


@contextmanager
def running(*processes: subprocess.Popen[Any]) -> Any:
    try:
        yield
    finally:
        for each in processes:
            each.kill()
            each.wait()


def test_ipv6_multicast_flows_over_keyed_routers_and_nothing_of_pim_is_in_clear_but_a_register(tmp_path: Path) -> None:
    async def run() -> None:
        lab = Laboratory(load("pim6"), LksKeying(), seed=1, options={}, record=Recorder())

        def start(node: str, *words: str, **options: Any) -> subprocess.Popen[Any]:
            with lab.node(node).namespace():
                return subprocess.Popen(words, **options)

        try:
            lab.build()
            wire = tmp_path / "wire.pcap"
            for name in lab.nodes:
                await lab.power_on(name)
            dump = start("r2", "tcpdump", "-i", "any", "-U", "-w", str(wire), stderr=subprocess.DEVNULL)
            stub = {
                host: next(e.name for e in lab.topology.routers[r].interfaces if e.kind == "stub")
                for host, r in (("src", "r1"), ("sink", "r3"))
            }
            for router, host, net in (("r1", "src", "fd01"), ("r3", "sink", "fd03")):
                lab.node(router).run("ip", "-6", "address", "add", f"{net}::1/64", "dev", stub[host])
                own = lab.topology.hosts[host].interface
                lab.node(host).run("ip", "-6", "address", "add", f"{net}::2/64", "dev", own)
                lab.node(host).run("ip", "-6", "route", "add", "default", "via", f"{net}::1")
            await lab.ready([router.name for router in lab.routers])
            heard = tmp_path / "heard"
            inside = {host: lab.topology.hosts[host].interface for host in ("src", "sink")}
            with heard.open("w") as output:
                words = (sys.executable, "-c", LISTEN, inside["sink"], "fd01::2", SPECIFIC, ANY)
                ear = start("sink", *words, stdout=output)
            await asyncio.sleep(60)
            talk = [
                start("src", sys.executable, "-c", SEND, inside["src"], "fd01::2", each) for each in (SPECIFIC, ANY)
            ]
            with running(dump, ear, *talk):
                await asyncio.sleep(25)
            routes = lab.node("r2").run("ip", "-6", "mroute", "show")
        finally:
            lab.close()
        said = heard.read_text().split()
        # All of one source's tree; of the other the first packets reach the rendezvous point in Registers alone.
        assert said.count(SPECIFIC) == 40 and said.count(ANY) >= 37
        for group in (SPECIFIC, ANY):
            assert f"(fd01::2,{group})" in routes.replace(" ", ""), routes

        def seen(what: str) -> list[str]:
            done = subprocess.run(["tcpdump", "-nr", wire, what], check=True, capture_output=True, text=True)
            return done.stdout.splitlines()

        assert not seen("ip proto 89 or ip proto 103 or ip6 proto 89 or dst host ff02::d and ip6 proto 103")
        assert seen("ip6 proto 50 and dst host ff02::d") and seen("ip6 proto 50 and dst host ff02::5")
        # Pairs of routers for unicast PIM are of IPv4: an IPv6 Register has none, and goes in clear.
        unicast = seen("ip6 proto 103")
        assert unicast and all("Register" in line for line in unicast)

    asyncio.run(run())
