"""What the run view shows of one run: its network laid out, its events, and beside them what only analysis knows.

The page works out from the events who has power, carrier, adjacencies and keys at a moment. What events alone do not
say is worked out here and added as events of the source `view`: how many routes are right, who does not hear a
multicast stream, what passed on a wire. Knows nothing of HTML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from testbed.analysis.adjacency import daemon
from testbed.analysis.convergence import Watch, wanted
from testbed.analysis.multicast import silences
from testbed.analysis.run import NS, Event, Run
from testbed.probes.pcap import ESP, OSPF, PIM, ip_packets
from testbed.report.requests import origin
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
    topology, events = run.plan.topology, run.events
    zero = origin(run)
    shown = [event for event in events if event["source"] not in UNSHOWN]
    return {
        "name": f"{run.plan.experiment}, {run.plan.keying}, seed {run.plan.seed}",
        "keying": run.plan.keying,
        "network": network(topology),
        "zero": zero.moment,
        "since": zero.name,
        "start": int(events[0]["t"]),
        "end": int(events[-1]["t"]),
        "mode": getattr(run.plan.options, "mode", "required"),
        "agents": any(event["source"] == "agent" for event in events),
        "events": sorted([*shown, *_routes(run), *_silent(run), *_wires(run)], key=lambda event: int(event["t"])),
    }


def network(topology: Topology) -> dict[str, Any]:
    """The nodes and segments of a topology with their places."""
    places = _scaled(layout(topology))
    return {
        "name": topology.name,
        "daemon": daemon(topology),
        "dks": topology.dks.router,
        "rp": topology.pim.rp if topology.pim is not None else None,
        "routers": {
            name: {
                "at": places[name],
                "id": str(router.router_id),
                "interfaces": {each.name: each.kind for each in router.interfaces},
            }
            for name, router in topology.routers.items()
        },
        "lans": {name: places[name] for name, segment in topology.segments.items() if segment.kind == "lan"},
        "segments": {
            name: {"kind": segment.kind, "members": [list(each) for each in segment.members]}
            for name, segment in topology.segments.items()
        },
        "adjacencies": [
            [name, other.interface.name, other.neighbor_router]
            for name in topology.routers
            for other in topology.neighbors(name)
        ],
    }


def _scaled(found: Mapping[str, tuple[float, float]]) -> dict[str, list[float]]:
    """Into the unit square, the shape kept, north above."""
    west, north = min(x for x, _ in found.values()), max(y for _, y in found.values())
    size = max(max(x - west, north - y) for x, y in found.values()) or 1.0
    return {name: [round((x - west) / size, 4), round((north - y) / size, 4)] for name, (x, y) in found.items()}


def _routes(run: Run) -> Iterator[Event]:
    """How many routes to loopbacks are as shortest paths say, of how many that should be, at each change."""
    topology = run.plan.topology
    down: set[str] = set()
    watch = Watch(topology, wanted(topology, expected_paths(topology)))
    last: tuple[int, int] | None = None
    changed: int | None = None

    def told(moment: int) -> Iterator[Event]:
        nonlocal last
        now = watch.right, watch.count
        if now != last:
            yield {"t": moment, "node": "lab", "source": ADDED, "kind": "routes", "right": now[0], "of": now[1]}
        last = now

    for event in run.events:
        if changed is not None and event["t"] > changed + BURST_NS:
            watch.expect(wanted(topology, expected_paths(topology, frozenset(down))), changed)
            yield from told(changed)
            changed = None
        watch.see(event)
        if _changes(event, topology, down):
            changed = event["t"] if changed is None else changed
        elif changed is None:
            yield from told(event["t"])


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


def _silent(run: Run) -> Iterator[Event]:
    """When a receiver did not hear a multicast stream."""
    for (stream, receiver), spans in silences(run).items():
        for low, high in spans:
            own = {"node": receiver, "source": ADDED, "stream": stream}
            yield {"t": low, **own, "kind": "silent"}
            yield {"t": high, **own, "kind": "heard"}


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
