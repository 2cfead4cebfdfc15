"""Reads FRR's logs into adjacency events. The daemons log each change with microseconds.

Pure but for reading the files. FRR stamps wall-clock time in UTC; `offset_ns` turns it into
the record's monotonic time. It must not know which adjacencies ought to be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.record.writer import Event

_STAMP = re.compile(r"^(\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,9}) (.*)$")
_OSPF = re.compile(
    r"AdjChg: Nbr (?P<id>[0-9.]+), NbrIP (?P<address>[0-9.]+) \([^)]*\) on (?P<ifname>[^:\s]+)"
    r"(?::[0-9.]+)?: (?P<old>[\w-]+) -> (?P<new>[\w-]+) \((?P<why>[^)]*)\)"
)
_OSPF6 = re.compile(
    r"AdjChg: Nbr (?P<id>[0-9.]+)\([^)]*\) on (?P<ifname>\S+): (?P<old>[\w-]+) -> (?P<new>[\w-]+)"
    r" \((?P<why>[^)]*)\)"
)
_PIM_NEW = re.compile(r"PIM NEIGHBOR UP: neighbor (?P<id>\S+) on interface (?P<ifname>\S+)")
_PIM_GONE = re.compile(r"PIM NEIGHBOR DOWN: neighbor (?P<id>\S+) on interface (?P<ifname>[^:\s]+):?\s*(?P<why>.*)")
#: The two daemons spell some states differently.
_STATES = {"Twoway": "2-Way", "ExChange": "Exchange"}


def parse_stamp(line: str) -> tuple[int, str] | None:
    """(nanoseconds since 1970, rest of the line), or None when the line has no stamp."""
    found = _STAMP.match(line)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found.group(n)) for n in range(1, 7))
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return int(moment.timestamp()) * 10**9 + int(found.group(7).ljust(9, "0")), found.group(8)


def adjacency(daemon: str, text: str) -> dict[str, Any] | None:
    """The fields of an adjacency event in a log line, or None when it tells of none."""
    if daemon in ("pimd", "pim6d"):
        return _pim(daemon, text)
    found = _OSPF.search(text) if daemon == "ospfd" else _OSPF6.search(text)
    if found is None:
        return None
    fields = {
        "daemon": daemon,
        "ifname": found.group("ifname"),
        "neighbor": found.group("id"),
        "state": _STATES.get(found.group("new"), found.group("new")),
        "old": _STATES.get(found.group("old"), found.group("old")),
        "why": found.group("why"),
    }
    if daemon == "ospfd":
        fields["address"] = found.group("address")
    return fields


def _pim(daemon: str, text: str) -> dict[str, Any] | None:
    for pattern, old, new in ((_PIM_NEW, "Down", "Up"), (_PIM_GONE, "Up", "Down")):
        found = pattern.search(text)
        if found is not None:
            return {
                "daemon": daemon,
                "ifname": found.group("ifname"),
                "neighbor": found.group("id"),
                "state": new,
                "old": old,
                "why": found.groupdict().get("why") or "",
            }
    return None


def adjacency_events(node: str, daemon: str, lines: Iterable[str], offset_ns: int) -> Iterator[Event]:
    """The adjacency events of one daemon's log; `offset_ns` is wall time minus monotonic time."""
    for line in lines:
        stamped = parse_stamp(line)
        if stamped is None:
            continue
        fields = adjacency(daemon, stamped[1])
        if fields is not None:
            yield {
                "t": stamped[0] - offset_ns,
                "node": node,
                "source": "frr",
                "kind": "adjacency",
                **fields,
            }


def read_log(node: str, daemon: str, path: Path, offset_ns: int) -> list[Event]:
    """The adjacency events of a log file; none when the daemon never wrote one."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8", errors="replace") as file:
        return list(adjacency_events(node, daemon, file, offset_ns))
