"""What names mean in the nodes."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

from testbed.net.names import hosts_text
from testbed.topology.load import load
from testbed.topology.resolved import Topology


def named(tmp_path: Path, versions: str) -> Topology:
    (tmp_path / "t.yaml").write_text(
        f"ospf: {{versions: {versions}}}\nrouters: {{a: {{loopback: 10.0.0.9}}, b: }}\n"
        "links: [a-b]\nhosts: {h: {on: b}}\n"
    )
    return load(str(tmp_path / "t.yaml"))


def test_routers_are_their_loopbacks_and_hosts_their_addresses(tmp_path: Path) -> None:
    topology = named(tmp_path, "[2]")
    lines = hosts_text(topology, None).splitlines()
    assert "127.0.0.1 localhost" in lines
    assert {"10.0.0.9 a", f"{topology.hosts['h'].ipv4.ip} h"} <= set(lines)
    assert not [line for line in lines if line.endswith(" dks") or line.startswith("fd")]


def test_ipv6_loopbacks_are_named_where_ospfv3_carries_them(tmp_path: Path) -> None:
    lines = hosts_text(named(tmp_path, "[2, 3]"), None).splitlines()
    assert {"10.0.0.9 a", "fd00::1 a", "fd00::2 b"} <= set(lines)


def test_the_key_server_is_named_where_there_is_one(tmp_path: Path) -> None:
    assert "10.32.0.6 dks" in hosts_text(named(tmp_path, "[2]"), IPv4Address("10.32.0.6")).splitlines()
