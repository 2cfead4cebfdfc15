"""When the routers' tables were right, and stayed so.

A network has converged when the FIB of every router holds, for the loopback of every other, exactly the next hops
that shortest paths give (RFC 4061 and RFC 6413 call this the end of reconvergence), and nothing of it changes until
the end of the time looked at. FIBs are known from the kernel's own route events, not by asking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from testbed.analysis.run import Event
from testbed.topology.paths import Routes
from testbed.topology.resolved import IPAddress, IPNetwork, Topology

Fib = dict[tuple[str, IPNetwork], frozenset[IPAddress]]


def loopbacks(topology: Topology) -> set[IPNetwork]:
    """What routes are judged for."""
    return {router.loopback_of(topology.family).network for router in topology.routers.values()}


def wanted(topology: Topology, routes: Routes) -> Fib:
    """Of the expected routes, those to loopbacks."""
    known = loopbacks(topology)
    return {
        (router, prefix): hops for router, table in routes.items() for prefix, hops in table.items() if prefix in known
    }


class Watch:
    """Follows the FIBs through a record and says since when they are right."""

    def __init__(self, topology: Topology, expected: Fib) -> None:
        self._loopbacks = loopbacks(topology)
        self._mark = "." if topology.family == 4 else ":"
        self._own = {(name, router.loopback_of(topology.family).network) for name, router in topology.routers.items()}
        self._fib: Fib = {}
        self._expected = expected
        self._wrong = set(expected)
        self.since: int | None = None if expected else 0

    @property
    def right(self) -> int:
        """How many of the wanted routes are right at the moment."""
        return len(self._expected) - len(self._wrong & self._expected.keys())

    @property
    def count(self) -> int:
        """How many routes are wanted at the moment."""
        return len(self._expected)

    def expect(self, expected: Fib, moment: int) -> None:
        """From `moment` (ns) on other routes are wanted."""
        self._expected = expected
        self._wrong = {key for key in expected.keys() | self._fib.keys() if self._fib.get(key) != expected.get(key)}
        self.since = None if self._wrong else moment

    def see(self, event: Event) -> None:
        """One event of the record; only route events change anything."""
        if event["source"] == "route" and self._mark in event["dst"]:
            key = (event["node"], ip_network(event["dst"]))
            if key[1] in self._loopbacks and key not in self._own:
                self._set(key, frozenset() if event["kind"] == "del" else _hops(event), event["t"])

    def _set(self, key: tuple[str, IPNetwork], hops: frozenset[IPAddress], moment: int) -> None:
        if hops:
            self._fib[key] = hops
        else:
            self._fib.pop(key, None)
        if self._fib.get(key) == self._expected.get(key):
            self._wrong.discard(key)
        else:
            self._wrong.add(key)
        if self._wrong:
            self.since = None
        elif self.since is None:
            self.since = moment


def converged_at(topology: Topology, events: Iterable[Event], expected: Routes, until: int | None = None) -> int | None:
    """The last moment (ns) at which the tables became right and stayed so to `until`; None if they are wrong then."""
    watch = Watch(topology, wanted(topology, expected))
    for event in events:
        if until is not None and event["t"] > until:
            break
        watch.see(event)
    return watch.since


def first_right_at(topology: Topology, events: Iterable[Event], expected: Routes, since: int) -> int | None:
    """The first moment (ns) from `since` on at which all tables were right, whatever came later; None without one."""
    watch = Watch(topology, wanted(topology, expected))
    for event in events:
        watch.see(event)
        if watch.since is not None and event["t"] >= since:
            return max(since, watch.since)
    return None


def phases(topology: Topology, events: Iterable[Event], changes: Mapping[int, Routes]) -> list[tuple[int, int | None]]:
    """For each change of what is wanted, at its moment (ns): when the tables were right before the next change."""
    moments = sorted(changes)
    watch: Watch | None = None
    intervals: list[tuple[int, int | None]] = []
    waiting: list[Any] = list(moments)
    for event in events:
        while waiting and event["t"] >= waiting[0]:
            moment = waiting.pop(0)
            if watch is None:
                watch = Watch(topology, {})
            if moment != moments[0]:
                intervals.append((moments[len(intervals)], watch.since))
            watch.expect(wanted(topology, changes[moment]), moment)
        if watch is None:
            watch = Watch(topology, {})
        watch.see(event)
    if watch is not None and not waiting:
        intervals.append((moments[-1], watch.since))
    return intervals


def _hops(event: Event) -> frozenset[IPAddress]:
    return frozenset(ip_address(hop["via"]) for hop in event["nexthops"] if hop.get("via"))
