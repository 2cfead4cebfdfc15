"""The guest does what runs rely on: packets are delayed, bridged and dropped; waiting is free; shared things stay."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.guest


def sh(command: str) -> str:
    """Run a shell command; a failure shows what it printed."""
    done = subprocess.run(["sh", "-c", command], text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def cable() -> Iterator[None]:
    """Two interfaces, ga and gb, the second in the network namespace `guest-b`."""
    sh("ip netns add guest-b && ip link add ga type veth peer name gb netns guest-b")
    sh("ip addr add 10.99.0.1/24 dev ga && ip link set ga up")
    sh("ip -n guest-b addr add 10.99.0.2/24 dev gb && ip -n guest-b link set gb up")
    yield
    sh("ip link del ga && ip netns del guest-b")


def test_netem_delays_packets_by_what_it_was_told(cable: None) -> None:
    sh("tc qdisc add dev ga root netem delay 50ms")
    line = sh("ping -c 3 -i 1 10.99.0.2").splitlines()[-1]
    least = float(line.split("=")[1].split("/")[0])
    assert 50.0 <= least < 60.0


def test_a_bridge_joins_namespaces() -> None:
    sh("ip link add gbr type bridge && ip link set gbr up")
    try:
        for number in (1, 2):
            sh(f"ip netns add guest-{number} && ip link add p{number} type veth peer name e netns guest-{number}")
            sh(f"ip link set p{number} master gbr up")
            sh(f"ip -n guest-{number} addr add 10.98.0.{number}/24 dev e && ip -n guest-{number} link set e up")
        sh("ip netns exec guest-1 ping -c 1 10.98.0.2")
    finally:
        sh("ip link del gbr; ip netns del guest-1; ip netns del guest-2")


def test_nftables_filters_at_a_devices_ingress(cable: None) -> None:
    sh("nft add table netdev guest")
    sh("nft add chain netdev guest in '{ type filter hook ingress device ga priority 0; }'")
    sh("nft add rule netdev guest in ip protocol icmp counter drop")
    # The first may still wait for the neighbour's address.
    assert subprocess.run(["ping", "-c", "4", "-W", "1", "10.99.0.2"], capture_output=True, check=False).returncode == 1
    assert re.search("counter packets [1-4]", sh("nft list table netdev guest"))
    sh("nft delete table netdev guest")


def test_waiting_takes_virtual_time_only() -> None:
    """If this test is slow, so is everything: a thousand seconds pass in a blink of the host's."""
    before = time.monotonic()
    sh("sleep 1000")
    assert 1000.0 <= time.monotonic() - before < 1001.0


@pytest.mark.parametrize("folder", ["/", "/etc", "/opt/lab/site", "/lab/project", "/lab/project/testbed"])
def test_what_runs_share_cannot_be_written(folder: str) -> None:
    with pytest.raises(OSError, match="Read-only file system"):
        (Path(folder) / "written-by-a-test").write_text("")


@pytest.mark.parametrize(
    "program", ["zebra", "ospfd", "ospf6d", "pimd", "tcpdump", "tshark", "ovs-vsctl", "mnexec", "swanctl", "nft"]
)
def test_the_programs_that_runs_need_are_there(program: str) -> None:
    path = f"{os.environ['PATH']}:/usr/lib/frr"
    assert subprocess.run(["which", program], env={"PATH": path}, capture_output=True, check=False).returncode == 0
