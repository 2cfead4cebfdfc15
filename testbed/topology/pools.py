"""The pools that addresses come from, and networks cut from them in order. Knows no topology."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

LOOPBACKS = IPv4Network("10.0.0.0/16")
STUBS = IPv4Network("10.32.0.0/12")
LINKS = IPv4Network("10.64.0.0/10")
MANAGEMENT = IPv4Network("172.16.0.0/12")
POOLS = {"loopbacks": LOOPBACKS, "hosts": STUBS, "links and LANs": LINKS, "the management network": MANAGEMENT}


class Pool:
    """Networks cut from a pool in order, leaving out what a person gave."""

    def __init__(self, pool: IPv4Network, taken: list[IPv4Network]) -> None:
        self._pool = pool
        self._next = int(pool.network_address)
        self._end = int(pool.broadcast_address)
        self._taken = [other for other in taken if other.overlaps(pool)]

    def cut(self, prefix: int) -> IPv4Network:
        """The next free network of that prefix length. ValueError when there is none."""
        size = 1 << (32 - prefix)
        while True:
            start = -(-self._next // size) * size
            if start + size > self._end + 1:
                raise ValueError(f"no /{prefix} is left in {self._pool}")
            network = IPv4Network((start, prefix))
            over = [int(other.broadcast_address) for other in self._taken if network.overlaps(other)]
            self._next = max([start + size, *(last + 1 for last in over)])
            if not over:
                return network


def hosts(network: IPv4Network) -> Iterator[IPv4Address]:
    """The addresses that a router can have there."""
    return iter(network) if network.prefixlen >= 31 else iter(network.hosts())


def usable(network: IPv4Network, address: IPv4Address) -> bool:
    """Whether a router can have the address: in the network, not its own and not its broadcast address."""
    ends = (network.network_address, network.broadcast_address)
    return address in network and (network.prefixlen >= 31 or address not in ends)
