"""Which PIM neighbours were there, when. From pimd's own log, as the record has it.

Knows nothing of streams or trees (multicast, trees).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from testbed.analysis.measures import Adjacencies
from testbed.analysis.run import Event
from testbed.topology.resolved import Topology


class Ends(NamedTuple):
    """One direction: what a router has of a neighbour, by its address on the interface."""

    router: str
    interface: str
    address: str


def expected(topology: Topology) -> set[Ends]:
    """Every direction between two routers that speak PIM on one segment."""
    on: dict[str, list[tuple[str, str, str]]] = {}
    for router in topology.routers.values():
        for each in router.interfaces:
            if each.pim:
                on.setdefault(each.segment, []).append((router.name, each.name, str(each.ipv4.ip)))
    return {
        Ends(router, interface, address)
        for members in on.values()
        for router, interface, _own in members
        for other, _its, address in members
        if other != router
    }


def all_up_at(topology: Topology, events: Iterable[Event]) -> int | None:
    """The moment (ns) at which the last of them came, to stay to the end; None when one is not there then."""
    since = _since(topology, events)
    known = [moment for moment in since.values() if moment is not None]
    return max(known) if known and len(known) == len(since) else None


def at_end(topology: Topology, events: Iterable[Event]) -> Adjacencies:
    """How many directions there are to be, and how many there are when the record ends."""
    states = _since(topology, events).values()
    return Adjacencies(len(expected(topology)), sum(moment is not None for moment in states))


def _since(topology: Topology, events: Iterable[Event]) -> dict[Ends, int | None]:
    """Since when (ns) each direction is there at the end; None: it is not."""
    since: dict[Ends, int | None] = dict.fromkeys(expected(topology))
    for event in events:
        if event["source"] == "fault" and event["kind"] == "power_off":
            since.update({ends: None for ends in since if ends.router == event["node"]})
        elif event["source"] == "frr" and event["kind"] == "adjacency" and event["daemon"] == "pimd":
            ends = Ends(event["node"], event["ifname"], event["neighbor"])
            if ends in since:
                since[ends] = event["t"] if event["state"] == "Up" else None
    return since
