"""When the multicast trees were right, and stayed so.

The trees that PIM-SM should have are computed beside FRR, from the shortest paths that OSPF should have (RFC 7761
§4.1): of an any-source group the shared tree from the rendezvous point to all receivers and, once a stream runs, the
source tree, to which the receivers' routers change over at once; of a source-specific group the source tree alone. A
tree is right when

- each router on it takes the packets from an interface, and from a neighbour there, by which a shortest path leads to
  the root, any of equal ones;
- each link or LAN with a receiver, or with a router of the tree further down, gets them from exactly one router.

A branch to where nobody wants the packets is not wrong, and counted apart: PIM keeps one until a hold time has run out
(§4.3.2, §4.5.2). What a router does is known from its kernel's own multicast routes, event by event. Knows nothing of
experiments, of packets or of keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from typing import NamedTuple

from testbed.analysis.run import NS, Event, Run
from testbed.record.plan import Stream
from testbed.topology.paths import Hops, Routes, expected_paths, has_carrier, hops_to
from testbed.topology.resolved import RECEIVERS, IPNetwork, Topology

ANY = "*"
"""The origin of a shared tree's routes in the record."""
BOOTING_S = 10
_GOES = frozenset({"power_off", "link_admin_down", "link_carrier_down", "link_blackhole", "partition", "router_remove"})
_COMES = frozenset({"link_admin_up", "link_carrier_up", "link_heal", "heal"})
_NO_BRANCHES = frozenset({"lo", "pimreg"})
"""Packets for the router itself, and those that go to the rendezvous point in Registers."""


class Key(NamedTuple):
    """Which tree: a source's address or ANY, and a group."""

    origin: str
    group: str


class Entry(NamedTuple):
    """A multicast route; of its outgoing interfaces the branches."""

    iif: str
    oifs: frozenset[str]


Entries = Mapping[str, Entry]
"""The routes of one tree by router."""


@dataclass(frozen=True)
class Tree:
    """What is wanted of one tree."""

    topology: Topology
    root: str
    """The rendezvous point, or the source, which is a router or a host."""
    receivers: frozenset[str]
    """Those that a path leads to."""
    ways: Mapping[str, Mapping[str, frozenset[str]]]
    """Router → interface by which a shortest path leads to the root → the nodes on it that are next on such a path."""

    def faults(self, entries: Entries) -> Iterator[str]:
        """What is wrong, in words; nothing when it is right."""
        feeders, wanted = self._feeders(entries), self._wanted(entries)
        for router in sorted(wanted.routers):
            entry, ways = entries[router], self.ways.get(router, {})
            if entry.iif not in ways:
                yield f"{router} takes it from {entry.iif}, not from {' or '.join(sorted(ways)) or 'anywhere'}"
            else:
                near = feeders.get(self._segments[router, entry.iif], frozenset())
                if not near <= ways[entry.iif]:
                    yield f"{router} has it from {', '.join(sorted(near - ways[entry.iif]))}, no shortest path"
        for segment in sorted(wanted.segments):
            near = feeders.get(segment, frozenset())
            if len(near) != 1:
                yield f"{segment}: fed by {', '.join(sorted(near)) or 'no router'}"

    def spare(self, entries: Entries) -> int:
        """How many branches lead to where nobody wants the packets."""
        wanted = self._wanted(entries).segments
        return sum(
            self._segments.get((router, oif)) not in wanted for router, entry in entries.items() for oif in entry.oifs
        )

    def through(self, receiver: str) -> frozenset[str]:
        """The routers that one of the shortest paths from the root to a receiver leads through, its own among them."""
        names: set[str] = set()
        waiting = [receiver]
        while waiting:
            node = waiting.pop()
            if node in self.topology.hosts:
                members = self.topology.segments[self.topology.hosts[node].segment].members
                waiting += [each for each, _ in members if each in self.ways and each not in names]
            elif node not in names:
                names.add(node)
                waiting += [each for near in self.ways.get(node, {}).values() for each in near if each != self.root]
        return frozenset(names)

    def _wanted(self, entries: Entries) -> _Wanted:
        """The routers that must have a route, and the segments that must be fed, from the receivers up."""
        feeders, wanted = self._feeders(entries), _Wanted(set(), set())
        waiting = [
            self.topology.hosts[each].segment if each in self.topology.hosts else self._segments[each, RECEIVERS]
            for each in self.receivers
        ]
        while waiting:
            segment = waiting.pop()
            if segment not in wanted.segments:
                wanted.segments.add(segment)
                for node in feeders.get(segment, frozenset()) - {self.root}:
                    wanted.routers.add(node)
                    taken = self._segments.get((node, entries[node].iif))
                    waiting += [] if taken is None else [taken]
        return wanted

    def _feeders(self, entries: Entries) -> Mapping[str, frozenset[str]]:
        """Who sends the packets to each segment."""
        feeders: dict[str, frozenset[str]] = {}
        if self.root in self.topology.hosts:
            feeders[self.topology.hosts[self.root].segment] = frozenset({self.root})
        for router, entry in entries.items():
            for oif in entry.oifs:
                segment = self._segments.get((router, oif))
                if segment is not None:
                    feeders[segment] = feeders.get(segment, frozenset()) | {router}
        return feeders

    @cached_property
    def _segments(self) -> dict[tuple[str, str], str]:
        """By router and interface. A router's own receivers are behind an interface of their own."""
        segments = {(name, RECEIVERS): f"{name}'s receivers" for name in self.topology.routers}
        for router in self.topology.routers.values():
            segments |= {(each.router, each.name): each.segment for each in router.interfaces}
        return segments


class _Wanted(NamedTuple):
    routers: set[str]
    segments: set[str]


Trees = Mapping[Key, Tree]


def expected(
    topology: Topology, streams: Iterable[Stream], down: frozenset[str], routes: Routes | None = None
) -> Trees:
    """The trees of these streams, all of which run, while `down` is down (as expected_paths takes it). `routes`: what
    expected_paths gives for that, where it is known.

    A tree whose root is down is not wanted, nor is one towards a receiver that no path leads to.
    """
    routes = expected_paths(topology, down) if routes is None else routes
    trees: dict[Key, Tree] = {}
    to: dict[str, dict[str, dict[str, frozenset[str]]]] = {}
    for stream in streams:
        if topology.pim is None:
            continue
        roots = {str(address_of(topology, stream.source)): stream.source}
        if not stream.specific:
            roots[ANY] = topology.pim.rp
        for origin, root in roots.items():
            if root not in down:
                if root not in to:
                    to[root] = {name: _ways(topology, name, root, table, down) for name, table in routes.items()}
                ways = to[root]
                near = frozenset(each for each in stream.receivers if _reached(topology, each, root, ways, down))
                trees[Key(origin, stream.group)] = Tree(topology, root, near, ways)
    return trees


def address_of(topology: Topology, node: str) -> IPv4Address:
    """What a source sends from, and what a tree's root is known by."""
    return topology.routers[node].loopback.ip if node in topology.routers else topology.hosts[node].ipv4.ip


def _ways(
    topology: Topology, router: str, root: str, table: Mapping[IPNetwork, Hops], down: frozenset[str]
) -> dict[str, frozenset[str]]:
    address = address_of(topology, root)
    ends = [each for each in topology.routers[router].interfaces if has_carrier(topology, each, down)]
    for end in ends:
        if address in end.ipv4.network:
            return {end.name: frozenset({root})}
    hops = hops_to(table, address)
    ways: dict[str, frozenset[str]] = {}
    for end in ends:
        for node, name in topology.segments[end.segment].members:
            if node in topology.routers and topology.routers[node].interface(name).hop(4) in hops:
                ways[end.name] = ways.get(end.name, frozenset()) | {node}
    return ways


def _reached(
    topology: Topology, receiver: str, root: str, ways: Mapping[str, Mapping[str, object]], down: frozenset[str]
) -> bool:
    """Whether a path leads from the root to a receiver."""
    if receiver in topology.routers:
        return receiver not in down and (receiver == root or bool(ways[receiver]))
    segment = topology.segments[topology.hosts[receiver].segment]
    if receiver in down or segment.name in down:
        return False
    if root in topology.hosts and topology.hosts[root].segment == segment.name:
        return True
    return any(
        (node == root or bool(ways[node])) and has_carrier(topology, topology.routers[node].interface(name), down)
        for node, name in segment.members
        if node in ways
    )


class Watch:
    """Follows the multicast routes through a record and says since when all trees are right."""

    def __init__(self) -> None:
        self._entries: dict[Key, dict[str, Entry]] = {}
        self._wanted: Trees = {}
        self._wrong: set[Key] = set()
        self.since: int | None = 0
        self.wrong: list[tuple[int, int | None]] = []
        """When (from, to; ns) they were not right; the last may have no end yet."""

    def expect(self, wanted: Trees, moment: int) -> None:
        """From `moment` (ns) on other trees are wanted."""
        self._wanted = wanted
        self._wrong = {key for key in wanted if self._faulty(key)}
        self.since = None if self._wrong else moment
        self._note(moment)

    def see(self, event: Event) -> None:
        """One event of the record; multicast routes change something, and so does a router's loss of power."""
        if event["source"] == "mroute":
            key = Key(event["origin"], event["group"])
            routes = self._entries.setdefault(key, {})
            if event["kind"] == "del" or event["iif"] is None:
                routes.pop(event["node"], None)
            else:
                routes[event["node"]] = _entry(event)
            self._changed([key], event["t"])
        elif event["source"] == "fault" and event["kind"] == "power_off":
            gone = [key for key, routes in self._entries.items() if routes.pop(event["node"], None) is not None]
            self._changed(gone, event["t"])

    def faults(self) -> list[str]:
        """What is wrong at the moment, tree by tree."""
        return [
            f"({key.origin}, {key.group}): {fault}"
            for key, tree in self._wanted.items()
            for fault in tree.faults(self._entries.get(key, {}))
        ]

    @property
    def spare(self) -> int:
        """Branches of the wanted trees to where nobody wants the packets, at the moment."""
        return sum(tree.spare(self._entries.get(key, {})) for key, tree in self._wanted.items())

    def _changed(self, keys: Iterable[Key], moment: int) -> None:
        for key in keys:
            if key in self._wanted:
                (self._wrong.add if self._faulty(key) else self._wrong.discard)(key)
        if self._wrong:
            self.since = None
        elif self.since is None:
            self.since = moment
        self._note(moment)

    def _note(self, moment: int) -> None:
        was_wrong = bool(self.wrong) and self.wrong[-1][1] is None
        if self._wrong and not was_wrong:
            self.wrong.append((moment, None))
        elif was_wrong and not self._wrong:
            self.wrong[-1] = (self.wrong[-1][0], moment)

    def _faulty(self, key: Key) -> bool:
        return any(self._wanted[key].faults(self._entries.get(key, {})))


def watch(run: Run, changes: Mapping[int, frozenset[str]], until: int | None = None) -> Iterator[tuple[int, Watch]]:
    """For each moment (ns) of `changes`, from which on what it names is down: the watch as it is before the next one,
    the last at `until` or the end of the record. Before the first moment nothing is down."""
    topology, streams = run.plan.topology, run.plan.streams
    starts = {stream: ready_at(run) + round(stream.since_s * NS) for stream in streams}
    seen, down, current = Watch(), frozenset[str](), None
    waiting = sorted({*changes, *starts.values()})
    for event in run.events:
        if until is not None and event["t"] > until:
            break
        while waiting and event["t"] >= waiting[0]:
            moment = waiting.pop(0)
            if moment in changes:
                if current is not None:
                    yield current, seen
                current, down = moment, changes[moment]
            running = [stream for stream, start in starts.items() if start <= moment]
            seen.expect(expected(topology, running, down, run.expected(down)), moment)
        seen.see(event)
    if current is not None:
        yield current, seen


def wrong_spans(run: Run) -> list[tuple[int, int]]:
    """When (from, to; ns) the trees of the streams that ran were not right, for what was not down then."""
    every = [seen for _moment, seen in watch(run, outages(run))]  # one and the same, as it came to be
    end = int(run.events[-1]["t"]) if run.events else 0
    return [(since, end if until is None else until) for since, until in every[-1].wrong]


def outages(run: Run) -> dict[int, frozenset[str]]:
    """What was down from which moment (ns) on, as the record's faults say. Of routers that boot within BOOTING_S of
    each other all are there with the last: each moment costs a computation of all paths."""
    boots: list[list[Event]] = []
    for event in run.where("fault", "power_on"):
        if not boots or event["t"] - boots[-1][-1]["t"] > BOOTING_S * NS:
            boots.append([])
        boots[-1].append(event)
    changes = [(int(together[-1]["t"]), str(each["node"]), False) for together in boots for each in together]
    for event in run.where("fault"):
        if event["kind"] in _GOES | _COMES:
            changes.append((int(event["t"]), str(event.get("segment", event["node"])), event["kind"] in _GOES))
    down: set[str] = set()
    edges = {0: frozenset[str]()}
    for moment, name, goes in sorted(changes, key=lambda each: each[0]):
        (down.add if goes else down.discard)(name)
        edges[moment] = frozenset(down)
    return edges


def ready_at(run: Run) -> int:
    """When all ran (ns): what the times of a plan count from."""
    return next((int(each["t"]) for each in run.events if each["source"] == "lab" and each["kind"] == "ready"), 0)


def _entry(event: Event) -> Entry:
    branches = frozenset(event["oifs"]) - _NO_BRANCHES - {event["iif"]}
    return Entry(event["iif"], branches)
