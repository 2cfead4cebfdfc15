"""One finished run: its plan, its manifest and its events, read back and checked."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from testbed.errors import InputError, Location
from testbed.record.plan import Plan
from testbed.topology.paths import Routes, expected_paths

Event = dict[str, Any]
NS = 1_000_000_000


@dataclass(frozen=True)
class Run:
    """`folder` holds plan.json, manifest.json and record.jsonl or record.jsonl.gz."""

    folder: Path

    @cached_property
    def plan(self) -> Plan:
        return Plan.read(self.folder / "plan.json")

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.folder / "manifest.json").read_text())  # type: ignore[no-any-return]

    @cached_property
    def events(self) -> list[Event]:
        """All events in the order of time. Raises InputError, with the line, for a record that is damaged."""
        return list(read_events(self.folder))

    def where(self, source: str, kind: str | None = None, node: str | None = None) -> list[Event]:
        """The events of one source, perhaps of one kind and of one node."""
        return [
            event
            for event in self.events
            if event["source"] == source and kind in (None, event["kind"]) and node in (None, event["node"])
        ]

    def mark(self, name: str) -> int:
        """When the mark was passed, in ns. Raises InputError when the record has no such mark."""
        for event in self.where("lab", "mark"):
            if event.get("name") == name:
                return int(event["t"])
        raise InputError(f"the record has no mark {name!r}", where=str(self.folder))

    def expected(self, down: frozenset[str] = frozenset()) -> Routes:
        """The routes that OSPF should have while `down` is down."""
        return expected_paths(self.plan.topology, down)


def read_events(folder: Path) -> Iterator[Event]:
    """The record's lines, in the order of time. Raises InputError for a missing or damaged one."""
    path = next((folder / name for name in ("record.jsonl", "record.jsonl.gz") if (folder / name).exists()), None)
    if path is None:
        raise InputError("no record is here", where=str(folder), allowed="a folder of a finished run")
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")  # noqa: SIM115
    last = 0
    with opened as lines:
        for number, line in enumerate(lines, 1):
            try:
                event = json.loads(line)
                moment = int(event["t"])
                event["source"], event["kind"], event["node"]
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"a damaged line: {error}", where=Location(path, number)) from error
            if moment < last:
                raise InputError(
                    "time runs backwards", where=Location(path, number), allowed="lines in the order of time"
                )
            last = moment
            yield event
