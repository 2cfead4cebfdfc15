"""Reads FRR's logs into events: adjacencies, and PIM's designated routers. The daemons log each change with
microseconds.

Pure but for reading the files. FRR stamps wall-clock time in UTC; `offset_ns` turns it into
the record's monotonic time. It must not know which adjacencies ought to be there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.record.writer import Event
from testbed.topology.resolved import RECEIVERS

_STAMP = re.compile(r"^(\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,9}) (.*)$")
_OSPF = re.compile(
    r"AdjChg: Nbr (?P<id>[0-9.]+), NbrIP (?P<address>[0-9.]+) \([^)]*\) on (?P<ifname>[^:\s]+)"
    r"(?::[0-9.]+)?: (?P<old>[\w-]+) -> (?P<new>[\w-]+) \((?P<why>[^)]*)\)"
)
_OSPF6 = re.compile(
    r"AdjChg: Nbr (?P<id>[0-9.]+)\(.*?\) on (?:[0-9.]+%)?(?P<ifname>\S+): (?P<old>[\w-]+) -> (?P<new>[\w-]+)"
    r" \((?P<why>[^)]*)\)"
)
_PIM_NEW = re.compile(r"PIM NEIGHBOR UP: neighbor (?P<id>\S+) on interface (?P<ifname>\S+)")
_PIM_GONE = re.compile(r"PIM NEIGHBOR DOWN: neighbor (?P<id>\S+) on interface (?P<ifname>[^:\s]+):?\s*(?P<why>.*)")
_PIM_DR = re.compile(r"pim_if_dr_election: DR was \S+ now is (?P<address>\S+) on interface (?P<ifname>\S+)")
_ALONE = ("lo", "pimreg", RECEIVERS)
"""Interfaces on which a router has no neighbour, and elects itself."""
#: The two daemons spell some states differently.
_STATES = {"Twoway": "2-Way", "ExChange": "Exchange"}


def parse_stamp(line: str) -> tuple[int, str] | None:
    """(nanoseconds since 1970, rest of the line), or None when the line has no stamp."""
    stamp = _STAMP.match(line)
    if stamp is None:
        return None
    year, month, day, hour, minute, second = (int(stamp.group(n)) for n in range(1, 7))
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return int(moment.timestamp()) * 10**9 + int(stamp.group(7).ljust(9, "0")), stamp.group(8)


def adjacency(daemon: str, text: str) -> dict[str, Any] | None:
    """The fields of an adjacency event in a log line, or None when it tells of none."""
    if daemon in ("pimd", "pim6d"):
        return _pim(daemon, text)
    match = _OSPF.search(text) if daemon == "ospfd" else _OSPF6.search(text)
    if match is None:
        return None
    fields = {
        "daemon": daemon,
        "ifname": match.group("ifname"),
        "neighbor": match.group("id"),
        "state": _STATES.get(match.group("new"), match.group("new")),
        "old": _STATES.get(match.group("old"), match.group("old")),
        "why": match.group("why"),
    }
    if daemon == "ospfd":
        fields["address"] = match.group("address")
    return fields


def _pim(daemon: str, text: str) -> dict[str, Any] | None:
    for pattern, old, new in ((_PIM_NEW, "Down", "Up"), (_PIM_GONE, "Up", "Down")):
        match = pattern.search(text)
        if match is not None:
            return {
                "daemon": daemon,
                "ifname": match.group("ifname"),
                "neighbor": match.group("id"),
                "state": new,
                "old": old,
                "why": match.groupdict().get("why") or "",
            }
    return None


def adjacency_events(node: str, daemon: str, lines: Iterable[str], offset_ns: int) -> Iterator[Event]:
    """The adjacency events of one daemon's log; `offset_ns` is wall time minus monotonic time."""
    return _events(node, "adjacency", lines, offset_ns, lambda text: adjacency(daemon, text))


def election_events(node: str, lines: Iterable[str], offset_ns: int) -> Iterator[Event]:
    """Whom pimd took for the designated router of an interface, whenever that changed. `offset_ns` as above."""
    return _events(node, "dr", lines, offset_ns, _election)


def _election(text: str) -> dict[str, Any] | None:
    match = _PIM_DR.search(text)
    if match is None or match.group("ifname") in _ALONE:
        return None
    return {"ifname": match.group("ifname"), "address": match.group("address")}


def _events(
    node: str, kind: str, lines: Iterable[str], offset_ns: int, fields_of: Callable[[str], dict[str, Any] | None]
) -> Iterator[Event]:
    for line in lines:
        stamped = parse_stamp(line)
        fields = None if stamped is None else fields_of(stamped[1])
        if stamped is not None and fields is not None:
            yield {"t": stamped[0] - offset_ns, "node": node, "source": "frr", "kind": kind, **fields}


def read_log(node: str, daemon: str, path: Path, offset_ns: int) -> list[Event]:
    """The adjacency events of a log file; none when the daemon never wrote one."""
    return _read(path, lambda lines: adjacency_events(node, daemon, lines, offset_ns))


def read_elections(node: str, path: Path, offset_ns: int) -> list[Event]:
    """The events of pimd's file of elections; none when it never wrote one."""
    return _read(path, lambda lines: election_events(node, lines, offset_ns))


def _read(path: Path, events: Callable[[Iterable[str]], Iterator[Event]]) -> list[Event]:
    if not path.exists():
        return []
    with open(path, encoding="utf-8", errors="replace") as file:
        return list(events(file))
