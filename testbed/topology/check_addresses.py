"""What must hold of the addresses that a person gave: each once, inside its network, with room left for the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from testbed.topology.findings import Findings
from testbed.topology.parts import routers_of
from testbed.topology.pools import POOLS, usable
from testbed.topology.source import TopologySource, WireSource

Given = tuple[IPv4Network, tuple[Any, ...]]


def given_networks(source: TopologySource) -> Iterator[Given]:
    """Every network that the file names, with its place."""
    for name, router in source.routers.items():
        if router.loopback:
            yield router.loopback.network, ("routers", name, "loopback")
    for index, link in enumerate(source.links):
        if link.subnet:
            yield link.subnet, ("links", index, "subnet")
    for name, lan in source.lans.items():
        if lan.subnet:
            yield lan.subnet, ("lans", name, "subnet")
    if source.dks is not None and source.dks.management is not None:
        yield source.dks.management, ("dks", "management")


def check_addresses(source: TopologySource, findings: Findings) -> None:
    """Networks that overlap, that are too small, and addresses outside them or given twice."""
    given = list(given_networks(source))
    for index, (network, path) in enumerate(given):
        for other, first in given[:index]:
            if network.overlaps(other):
                alike = network == other and network.prefixlen == 32
                findings.wrong(
                    f"address {network.network_address} is given twice" if alike else f"{network} overlaps {other}",
                    *path,
                    allowed=f"another than that of {'.'.join(map(str, first[:2]))}{findings.line(*first)}",
                )
                break
        for what, pool in POOLS.items():
            if network.supernet_of(pool):
                findings.wrong(
                    f"{network} leaves no addresses for {what}",
                    *path,
                    allowed=f"a network that leaves some of {pool} free",
                )
    for index, link in enumerate(source.links):
        addresses = dict(enumerate(link.addresses)) if link.addresses else {}
        _wire(link, 2, addresses, ("links", index), findings)
    for name, lan in source.lans.items():
        _wire(lan, len(lan.routers), lan.addresses or {}, ("lans", name), findings)
    if source.dks is not None and source.dks.management is not None:
        _room(source.dks.management, len(routers_of(source)) + 1, ("dks", "management"), findings)


def _wire(
    wire: WireSource, members: int, addresses: Mapping[Any, IPv4Address], path: tuple[Any, ...], findings: Findings
) -> None:
    if wire.subnet is None:
        if addresses:
            findings.wrong("addresses without a subnet", *path, "addresses", allowed="subnet beside addresses")
        return
    _room(wire.subnet, members, (*path, "subnet"), findings)
    seen: set[IPv4Address] = set()
    for member, address in addresses.items():
        at = (*path, "addresses", member)
        if address in seen:
            findings.wrong(f"address {address} is given twice", *at, allowed="each address once")
        elif address not in wire.subnet or not usable(wire.subnet, address):
            findings.wrong(
                f"address {address} is not a router's address in {wire.subnet}", *at, allowed=_range(wire.subnet)
            )
        seen.add(address)


def _range(network: IPv4Network) -> str:
    if network.prefixlen >= 31:
        return " or ".join(map(str, network))
    return f"{network[1]} to {network[-2]}"


def _room(network: IPv4Network, members: int, path: tuple[Any, ...], findings: Findings) -> None:
    room = network.num_addresses - (2 if network.prefixlen < 31 else 0)
    if room < members:
        findings.wrong(f"{network} is too small", *path, allowed=f"room for {members} addresses")
