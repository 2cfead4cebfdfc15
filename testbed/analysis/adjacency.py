"""Which routing adjacencies were up, when. From FRR's own log, as the record has it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import NamedTuple

from testbed.analysis.measures import Adjacencies
from testbed.analysis.run import Event
from testbed.topology.adjacent import adjacencies
from testbed.topology.resolved import Topology

FULL = "Full"
_ORDER = ("Down", "Deleted", "Attempt", "Init", "2-Way", "ExStart", "Exchange", "Loading", FULL)
"""From least to most (RFC 2328 §10.1); FRR deletes a neighbour that is down."""
# Between two routers of a LAN that are neither designated nor backup, 2-Way is all there is (RFC 2328 §10.3).
ENOUGH_ON_A_LAN = frozenset({FULL, "2-Way", "TwoWay"})


class Ends(NamedTuple):
    """One direction of an adjacency. The interface belongs to it: two routers may share a link and a LAN as well."""

    router: str
    interface: str
    neighbor: str


def daemon(topology: Topology) -> str:
    """Whose adjacencies they are."""
    return "ospfd" if topology.family == 4 else "ospf6d"


def expected(topology: Topology) -> set[Ends]:
    """Every direction of every adjacency that its configuration lets come up."""
    return {
        Ends(name, other.interface.name, other.neighbor_router)
        for name in topology.routers
        for other in adjacencies(topology, name)
    }


def timeline(topology: Topology, events: Iterable[Event]) -> dict[Ends, list[tuple[int, bool]]]:
    """For each direction, the moments (ns) at which it went up or down: of OSPFv2 or, in a network
    without it, of OSPFv3."""
    ospf_daemon = daemon(topology)
    names = {router.router_id: name for name, router in topology.routers.items()}
    lans = {
        (interface.router, interface.name)
        for router in topology.routers.values()
        for interface in router.interfaces
        if interface.kind == "lan"
    }
    changes: dict[Ends, list[tuple[int, bool]]] = {ends: [] for ends in sorted(expected(topology))}
    for event in events:
        if event["source"] == "fault" and event["kind"] == "power_off" and event["node"] in topology.routers:
            for ends in changes:
                if ends.router == event["node"]:
                    _change(changes[ends], event["t"], up=False)
        elif event["source"] == "link" and event["kind"] == "down" and ospf_daemon == "ospf6d":
            # It forgets the neighbours of an interface that goes down, as ospfd does, and says nothing of it.
            for ends in changes:
                if (ends.router, ends.interface) == (event["node"], event["ifname"]):
                    _change(changes[ends], event["t"], up=False)
        elif event["source"] == "frr" and event["kind"] == "adjacency" and event["daemon"] == ospf_daemon:
            neighbor = names.get(IPv4Address(event["neighbor"]))
            ends = Ends(event["node"], event["ifname"], neighbor or "")
            if ends in changes:
                enough = ENOUGH_ON_A_LAN if (event["node"], event["ifname"]) in lans else {FULL}
                _change(changes[ends], event["t"], up=event["state"] in enough)
    return changes


def up_at_end(topology: Topology, events: Iterable[Event]) -> int:
    """How many directions are up when the record ends."""
    return sum(bool(changes) and changes[-1][1] for changes in timeline(topology, events).values())


def at_end(topology: Topology, events: Iterable[Event]) -> Adjacencies:
    """How many directions there are to be, and how many are up when the record ends."""
    return Adjacencies(len(expected(topology)), up_at_end(topology, events))


def falls(topology: Topology, events: Iterable[Event]) -> dict[Ends, list[int]]:
    """For each direction, the moments (ns) at which it was lost.

    Where a LAN elects another designated router, neighbours that were 2-Way go through ExStart to Full (RFC 2328
    §10.3, AdjOK?): they are not up meanwhile, but nothing of them is lost.
    """
    kept = timeline(topology, (event for event in events if not _rises(event)))
    return {ends: [moment for moment, up in changes if not up] for ends, changes in kept.items()}


def _rises(event: Event) -> bool:
    """Whether this is a neighbour on its way from 2-Way to Full."""
    if event["source"] != "frr" or event["kind"] != "adjacency" or event["state"] == FULL:
        return False
    old, new = (_ORDER.index(state) if state in _ORDER else None for state in (event.get("old"), event["state"]))
    return old is not None and new is not None and _ORDER.index("2-Way") <= old < new


def losses(topology: Topology, events: Iterable[Event], since: int, until: int) -> int:
    """How many times a direction was lost in [since, until] (ns)."""
    return sum(since <= moment <= until for moments in falls(topology, events).values() for moment in moments)


def _change(changes: list[tuple[int, bool]], moment: int, *, up: bool) -> None:
    if (changes[-1][1] if changes else False) != up:
        changes.append((moment, up))
