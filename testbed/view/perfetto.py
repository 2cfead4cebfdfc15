"""A run as a trace of Perfetto, for people who live in traces: ui.perfetto.dev opens it, and so does trace_processor.

A track for each router and interface; below them slices for adjacencies that are down and for generations in the
kernel, instants for events, flows that join the two ends of an IKE SA, and counters. The octets are written here:
protobuf's wire format, and a dozen fields of perfetto_trace.proto. Knows nothing of pages.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from testbed.analysis.adjacency import timeline
from testbed.analysis.run import NS, Event, Run
from testbed.view.scene import RouteSums

BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4
"""TrackEvent.Type."""
SEQUENCE = 1
MONOTONIC = 3
"""BuiltinClock: what records are timed with."""
INSTANTS = frozenset({"fault", "agent", "lab"})
"""Sources whose events are instants on the tracks of their nodes."""


# -- protobuf's wire format ---------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _octets(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _fixed(field: int, value: int) -> bytes:
    return _varint(field << 3 | 1) + value.to_bytes(8, "little")


# -- perfetto_trace.proto: field numbers --------------------------------------------------------------


def _id(*names: object) -> int:
    """The same for the same names, in every trace."""
    return int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:8], "little") >> 1


class Trace:
    """Packets, in any order; the octets are in the order of time."""

    def __init__(self) -> None:
        self._tracks: dict[int, bytes] = {}
        self._events: list[tuple[int, int, bytes]] = []

    def track(self, *names: str, counter: bool = False) -> int:
        """The track of these names, each below the one before; it is described once."""
        uuid = _id(*names)
        if uuid not in self._tracks:
            body = _number(1, uuid) + _octets(2, names[-1])
            if len(names) > 1:
                body += _number(5, self.track(*names[:-1]))
            self._tracks[uuid] = b""  # before those above it could ask again
            self._tracks[uuid] = body + (_octets(8, b"") if counter else b"")
        return uuid

    def event(
        self,
        t: int,
        kind: int,
        track: int,
        name: str = "",
        *,
        values: Mapping[str, Any] | None = None,
        value: int | None = None,
        flow: int | None = None,
    ) -> None:
        """One event, at `t` ns. `values`: what more is known; `value`: of a counter; `flow`: what it belongs to."""
        body = _number(9, kind) + _number(11, track)
        body += _octets(23, name) if name else b""
        body += b"".join(_octets(4, _octets(10, key) + _annotation(each)) for key, each in (values or {}).items())
        body += b"" if value is None else _number(30, value)
        body += b"" if flow is None else _fixed(47, flow)
        # What ends at a moment ends before the next begins.
        self._events.append((t, kind != END, body))

    def slice(self, since: int, until: int, track: int, name: str, values: Mapping[str, Any] | None = None) -> None:
        """From one moment to another, in ns."""
        self.event(since, BEGIN, track, name, values=values)
        self.event(max(until, since + 1), END, track)

    def encoded(self) -> bytes:
        """The whole trace."""
        packets = [self._packet(_octets(60, body)) for body in self._tracks.values()]
        for t, _, body in sorted(self._events, key=lambda each: each[:2]):
            packets.append(self._packet(_number(8, t) + _octets(11, body)))
        return b"".join(packets)

    @staticmethod
    def _packet(body: bytes) -> bytes:
        return _octets(1, body + _number(10, SEQUENCE) + _number(58, MONOTONIC))


def _annotation(value: Any) -> bytes:
    if isinstance(value, bool):
        return _number(2, value)
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return _number(4, value)
    return _octets(6, str(value))


# -- a run --------------------------------------------------------------------------------------------


def exported(run: Run) -> bytes:
    """The run's trace. InputError for a record that is missing or damaged."""
    trace, end = Trace(), int(run.events[-1]["t"]) if run.events else 0
    for name in run.plan.topology.routers:
        trace.track(name)
    _adjacencies(trace, run, end)
    _generations(trace, run.events, end)
    _instants(trace, run)
    _flows(trace, run)
    _counters(trace, run)
    return trace.encoded()


def _adjacencies(trace: Trace, run: Run, end: int) -> None:
    for (router, interface, neighbor), changes in timeline(run.plan.topology, run.events).items():
        track = trace.track(router, interface, f"adjacency with {neighbor}")
        down: int | None = int(run.events[0]["t"]) if run.events else 0
        for t, up in changes:
            if up and down is not None:
                trace.slice(down, t, track, "down")
            down = (t if down is None else down) if not up else None
        if down is not None:
            trace.slice(down, end, track, "down")


def _generations(trace: Trace, events: Iterable[Event], end: int) -> None:
    """Those of an interface's own groups. They overlap when keys change, so each goes to a track that is free."""
    free: dict[tuple[str, str, str], list[int]] = {}
    for key, number, since, until in sorted(_spans(events, end), key=lambda each: (each[0], each[2])):
        ends = free.setdefault(key, [])
        lane = next((number for number, last in enumerate(ends) if last <= since), len(ends))
        ends[lane : lane + 1] = [until]
        node, interface, destination = key
        track = trace.track(node, interface, f"keys for {destination}" + (f" ({lane + 1})" if lane else ""))
        trace.slice(since, until, track, f"generation {number}")


def _spans(events: Iterable[Event], end: int) -> Iterator[tuple[tuple[str, str, str], int, int, int]]:
    """Node, interface and destination; generation; since when and until when the kernel had it."""
    open_: dict[tuple[tuple[str, str, str], int], int] = {}
    for event in events:
        if event["source"] == "agent" and event["kind"] == "sa" and event["direction"] == "out":
            key = (event["node"], event["interface"], event["destination"]), event["generation"]
            if event["change"] != "removed":
                open_.setdefault(key, event["t"])
            elif key in open_:
                yield *key, open_.pop(key), event["t"]
        elif event["source"] == "fault" and event["kind"] == "power_off":
            for key in [key for key in open_ if key[0][0] == event["node"]]:
                yield *key, open_.pop(key), event["t"]
    for key, since in open_.items():
        yield *key, since, end


def _instants(trace: Trace, run: Run) -> None:
    known = {name: {each.name for each in router.interfaces} for name, router in run.plan.topology.routers.items()}
    for event in run.events:
        if event["source"] not in INSTANTS or event["kind"] == "ike":
            continue
        rest = {key: each for key, each in event.items() if key not in ("t", "node", "source", "kind")}
        interface = event.get("interface", event.get("ifname"))
        below = (interface,) if interface in known.get(event["node"], ()) else ()
        track = trace.track(event["node"], *below, f"{event['source']} events")
        trace.event(event["t"], INSTANT, track, event["kind"], values=rest)


def _flows(trace: Trace, run: Run) -> None:
    """Both ends of each IKE SA, from the one that has it first to the other; and routers' visits to the DKS."""
    waiting: dict[tuple[frozenset[str], str], deque[int]] = {}
    for number, event in enumerate(run.events):
        if event["source"] != "agent" or event["kind"] != "ike" or event.get("state") != "established":
            continue
        node, peer, role = event["node"], str(event.get("peer")), str(event.get("role"))
        pair = frozenset({node, peer})
        other = waiting.get((pair, "initiator" if role == "responder" else "responder"))
        if other:
            flow = other.popleft()
        else:
            flow = _id("ike", number)
            waiting.setdefault((pair, role), deque()).append(flow)
        track = trace.track(node, *filter(None, (event.get("interface"),)), "IKE")
        trace.event(event["t"], INSTANT, track, f"IKE SA with {peer}", values={"role": role}, flow=flow)


def _counters(trace: Trace, run: Run) -> None:
    right, requests = trace.track("routes right", counter=True), trace.track("DKS requests in a second", counter=True)
    sums, seconds = RouteSums(run.plan.topology), dict[int, int]()
    for event in run.events:
        for each in sums.see(event):
            trace.event(each["t"], COUNTER, right, value=each["right"])
        if event["source"] == "agent" and event["kind"] == "request":
            second = event["t"] // NS
            seconds[second] = seconds.get(second, 0) + 1
    for second in sorted({each + after for each in seconds for after in (0, 1)}):
        trace.event(second * NS, COUNTER, requests, value=seconds.get(second, 0))
