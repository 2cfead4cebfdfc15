"""What the run view shows of one run: its network laid out, its events, and beside them what only analysis knows.

The page works out from the events who has power, carrier, adjacencies and keys at a moment. What events alone do not
say is worked out here and added as events of the source `view`: how many routes are right, what passed on a wire.
Knows nothing of HTML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.analysis.adjacency import daemon
from testbed.analysis.convergence import Watch, wanted
from testbed.analysis.run import NS, Event, Run
from testbed.probes.pcap import ESP, OSPF, PIM, ip_packets
from testbed.record.plan import Plan
from testbed.report.requests import Origin, origin
from testbed.topology.draw import layout
from testbed.topology.paths import expected_paths
from testbed.topology.resolved import Topology

UNSHOWN = frozenset({"route", "mroute"})
"""Sources of which a page shows the sum alone; they are half of a record."""
ADDED = "view"
"""The source of what is worked out here."""
WIRE_S = 1
"""Seconds that what passed on a wire is added up over."""
BURST_NS = NS // 10
"""What fails within so short a time fails together: what should be right is worked out once for all of it."""


def scene(run: Run) -> dict[str, Any]:
    """One run as the page takes it: JSON. Times are nanoseconds of the record; positions 0 to 1, y downwards.

    Raises InputError for a record that is missing or damaged.
    """
    zero, events = origin(run), run.events
    seen = [*events, *_routes(run), *_wires(run)]
    agents = any(event["source"] == "agent" for event in events)
    return described(run.plan, zero, (int(events[0]["t"]), int(events[-1]["t"])), seen, agents=agents)


def described(
    plan: Plan, zero: Origin, span: tuple[int, int], events: Sequence[Event], *, agents: bool
) -> dict[str, Any]:
    """A scene of these events, from the first moment to the last of `span`. The `gap` of a
    multicast stream is that between two packets."""
    events_of_it = (event for event in events if event["source"] not in UNSHOWN)
    return {
        "name": f"{plan.experiment}, {plan.keying}, seed {plan.seed}",
        "keying": plan.keying,
        "network": network(plan.topology),
        "zero": zero.moment,
        "since": zero.name,
        "start": span[0],
        "end": span[1],
        "mode": getattr(plan.options, "mode", "required"),
        "region": list(getattr(plan.options, "region", ())),
        "clear": list(getattr(plan.options, "clear", ())),
        "agents": agents,
        "streams": {
            each.name: {"gap": round(NS / each.rate_pps), "receivers": len(each.receivers)} for each in plan.streams
        },
        "flows": [each.name for each in plan.flows],
        "events": sorted(events_of_it, key=lambda event: int(event["t"])),
    }


def network(topology: Topology) -> dict[str, Any]:
    """The nodes and segments of a topology with their places."""
    positions = _scaled(layout(topology))
    return {
        "name": topology.name,
        "daemon": daemon(topology),
        "dks": topology.dks.router,
        "rp": topology.pim.rp if topology.pim is not None else None,
        "routers": {
            name: {
                "at": positions[name],
                "id": str(router.router_id),
                "interfaces": {each.name: each.kind for each in router.interfaces},
            }
            for name, router in topology.routers.items()
        },
        "lans": {name: positions[name] for name, segment in topology.segments.items() if segment.kind == "lan"},
        "segments": {
            name: {
                "kind": segment.kind,
                "members": [list(each) for each in segment.members],
                "loss": segment.loss_percent,
            }
            for name, segment in topology.segments.items()
        },
        "adjacencies": [
            [name, other.interface.name, other.neighbor_router]
            for name in topology.routers
            for other in topology.neighbors(name)
        ],
    }


def _scaled(points: Mapping[str, tuple[float, float]]) -> dict[str, list[float]]:
    """Into the unit square, the shape kept, north above."""
    west, north = min(x for x, _ in points.values()), max(y for _, y in points.values())
    size = max(max(x - west, north - y) for x, y in points.values()) or 1.0
    return {name: [round((x - west) / size, 4), round((north - y) / size, 4)] for name, (x, y) in points.items()}


def _routes(run: Run) -> Iterator[Event]:
    """How many routes are right, at each change."""
    sums = RouteSums(run.plan.topology)
    for event in run.events:
        yield from sums.see(event)


class RouteSums:
    """How many routes to loopbacks are as shortest paths say, of how many that should be."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._down: set[str] = set()
        self._watch = Watch(topology, wanted(topology, expected_paths(topology)))
        self._last: tuple[int, int] | None = None
        self._changed: int | None = None

    def see(self, event: Event) -> Iterator[Event]:
        """The next event of the record; the sums where they are others now."""
        if self._changed is not None and event["t"] > self._changed + BURST_NS:
            down = frozenset(self._down)
            self._watch.expect(wanted(self._topology, expected_paths(self._topology, down)), self._changed)
            yield from self._change(self._changed)
            self._changed = None
        self._watch.see(event)
        if _changes(event, self._topology, self._down):
            self._changed = event["t"] if self._changed is None else self._changed
        elif self._changed is None:
            yield from self._change(event["t"])

    def _change(self, moment: int) -> Iterator[Event]:
        now = self._watch.right, self._watch.count
        if now != self._last:
            yield {"t": moment, "node": "lab", "source": ADDED, "kind": "routes", "right": now[0], "of": now[1]}
        self._last = now


def _changes(event: Event, topology: Topology, down: set[str]) -> bool:
    """Take in a fault that other routes are right after; whether it was one."""
    if event["source"] == "fault" and event["kind"] in ("power_off", "power_on"):
        names = {event["node"]} & set(topology.routers)
    elif event["source"] == "link" and event["node"] in topology.routers and event["node"] not in down:
        ends = {each.name for each in topology.routers[event["node"]].interfaces}
        names = {f"{event['node']}:{event['ifname']}"} if event["ifname"] in ends else set()
    else:
        return False
    before = set(down)
    gone = event["kind"] in ("power_off", "down")
    down.difference_update(names)
    down.update(names if gone else ())
    return down != before


def _wires(run: Run) -> Iterator[Event]:
    """What routing traffic was captured at each interface, in octets of a second."""
    labels = {each.label: each for router in run.plan.topology.routers.values() for each in router.interfaces}
    for file in sorted((run.folder / "pcap").glob("*.pcap")):
        interface = labels.get(Path(file.name).stem)
        if interface is None:
            continue
        sums: dict[int, list[int]] = {}
        for packet in ip_packets(file):
            if packet.protocol in (ESP, OSPF, PIM):
                each = sums.setdefault(packet.time_ns // (WIRE_S * NS), [0, 0])
                each[packet.protocol != ESP] += len(packet.payload)
        for second, (protected, clear) in sorted(sums.items()):
            yield {
                "t": (second + 1) * WIRE_S * NS, "node": interface.router, "source": ADDED, "kind": "wire",
                "ifname": interface.name, "protected": protected, "clear": clear,
            }  # fmt: skip
