"""Which routing adjacencies were up, when. From FRR's own log, as the record has it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import NamedTuple

from testbed.analysis.run import Event
from testbed.topology.resolved import Topology

FULL = "Full"
# Between two routers of a LAN that are neither designated nor backup, 2-Way is all there is (RFC 2328 §10.3).
ENOUGH_ON_A_LAN = frozenset({FULL, "2-Way", "TwoWay"})


class Ends(NamedTuple):
    """One direction of an adjacency. The interface belongs to it: two routers may share a link and a LAN as well."""

    router: str
    interface: str
    neighbor: str


def expected(topology: Topology) -> set[Ends]:
    """Every direction of every adjacency."""
    return {
        Ends(name, other.interface.name, other.neighbor_router)
        for name in topology.routers
        for other in topology.neighbors(name)
    }


def timeline(topology: Topology, events: Iterable[Event]) -> dict[Ends, list[tuple[int, bool]]]:
    """For each direction, the moments (ns) at which it went up or down. OSPFv2."""
    names = {router.router_id: name for name, router in topology.routers.items()}
    lans = {
        interface.name
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
        elif event["source"] == "frr" and event["kind"] == "adjacency" and event["daemon"] == "ospfd":
            neighbor = names.get(IPv4Address(event["neighbor"]))
            ends = Ends(event["node"], event["ifname"], neighbor or "")
            if ends in changes:
                enough = ENOUGH_ON_A_LAN if event["ifname"] in lans else {FULL}
                _change(changes[ends], event["t"], up=event["state"] in enough)
    return changes


def up_at_end(topology: Topology, events: Iterable[Event]) -> int:
    """How many directions are up when the record ends."""
    return sum(bool(changes) and changes[-1][1] for changes in timeline(topology, events).values())


def losses(topology: Topology, events: Iterable[Event], since: int, until: int) -> int:
    """How many times a direction went down in [since, until] (ns)."""
    return sum(
        not up and since <= moment <= until for changes in timeline(topology, events).values() for moment, up in changes
    )


def _change(changes: list[tuple[int, bool]], moment: int, *, up: bool) -> None:
    if (changes[-1][1] if changes else False) != up:
        changes.append((moment, up))
