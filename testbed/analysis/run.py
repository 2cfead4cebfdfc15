"""One finished run: its plan, its manifest and its events, read back and checked."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

from testbed.errors import InputError, Location
from testbed.record.manifest import FILE, Manifest, read_manifest
from testbed.record.plan import Plan
from testbed.topology.paths import Routes, expected_paths

Event = dict[str, Any]
NS = 1_000_000_000
PLAN, RECORD = "plan.json", "record.jsonl"
CHANGED = "was changed since the run: its hash differs from the manifest's"


@dataclass(frozen=True)
class Run:
    """`folder` holds plan.json, manifest.json and record.jsonl or record.jsonl.gz."""

    folder: Path

    def __reduce__(self) -> tuple[type[Run], tuple[Path]]:
        """To another process goes where it stands, not what was read of it."""
        return Run, (self.folder,)

    @cached_property
    def plan(self) -> Plan:
        """Raises InputError, with the line, for one that is missing or damaged."""
        return Plan.read(self.folder / PLAN)

    @cached_property
    def manifest(self) -> Manifest:
        """Raises InputError for one that is missing, damaged or of a later format."""
        return read_manifest(self.folder)

    @cached_property
    def events(self) -> list[Event]:
        """All events in the order of time. Raises InputError, with the line, for a record that is damaged or cut."""
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
        if down not in self._routes:
            self._routes[down] = expected_paths(self.plan.topology, down)
        return self._routes[down]

    @cached_property
    def _routes(self) -> dict[frozenset[str], Routes]:
        return {}

    def flaws(self) -> list[InputError]:
        """What of its files is missing, or is not as the run wrote it, by the manifest's hashes."""
        try:
            hashes = self.manifest.sha256
        except InputError as error:
            problem = f"{error.problem}: changes of the run's other files cannot be detected"
            return [InputError(problem, where=error.where, allowed=error.allowed)]
        flaws = []
        for name, expected in {PLAN: None, RECORD: None, **hashes}.items():
            path = self.folder / name
            if not path.resolve().is_relative_to(self.folder.resolve()):
                flaws.append(InputError(f"names a file that is not the run's: {name!r}", where=str(self.folder / FILE)))
                continue
            try:
                hashed = sha256_of(path)
            except FileNotFoundError:
                flaws.append(InputError("is missing", where=str(path)))
            except (OSError, EOFError, zlib.error) as error:
                flaws.append(InputError(f"cannot be read: {_reason(error)}", where=str(path)))
            else:
                if expected is None:
                    flaws.append(InputError(f"the manifest has no hash of {name}", where=str(path)))
                elif hashed != expected:
                    flaws.append(InputError(CHANGED, where=str(path)))
        return flaws


def sha256_of(path: Path) -> str:
    """Of a file, or of what is packed in it with .gz added."""
    packed = path.with_name(f"{path.name}.gz")
    with cast(IO[bytes], gzip.open(packed)) if packed.exists() and not path.exists() else path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class _Line(dict[str, Any]):
    """An event that says where it stands when something of it is asked for that it lacks."""

    __slots__ = ("where",)
    where: Location

    def __missing__(self, key: str) -> Any:
        raise InputError(f"a damaged line: the event has no {key!r}", where=self.where)


def read_events(folder: Path) -> Iterator[Event]:
    """The record's lines, in the order of time. Raises InputError for a missing, damaged or cut one."""
    path = next((folder / name for name in (RECORD, f"{RECORD}.gz") if (folder / name).exists()), None)
    if path is None:
        raise InputError("the record is missing", where=str(folder / RECORD), allowed="a folder of a finished run")
    last, number, event = 0, 0, _Line()
    try:
        with cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                event = _event(line, Location(path, number))
                if event["t"] < last:
                    raise InputError(
                        "time runs backwards", where=Location(path, number), allowed="lines in the order of time"
                    )
                last = event["t"]
                yield event
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read: {_reason(error)}", where=Location(path, number + 1)) from error
    if not number:
        raise InputError("the record is empty", where=str(path))
    if not _ended(folder, event):
        raise InputError("the record is truncated: it does not end with run_end", where=Location(path, number))


def _ended(folder: Path, last: Event) -> bool:
    """Whether this is the last event that a run writes. A run that left no manifest is not asked."""
    return last["kind"] == "run_end" or not (folder / FILE).exists()


def _event(line: bytes, where: Location) -> _Line:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        cut = "" if line.endswith(b"\n") else ", truncated"
        raise InputError(f"a damaged line{cut}: {error}", where=where) from error
    if not isinstance(value, dict):
        raise InputError("a damaged line: not a JSON object", where=where)
    event = _Line(value)
    event.where = where
    for name, kind in (("t", int), ("source", str), ("kind", str), ("node", str)):
        if type(event[name]) is not kind:
            raise InputError(f"a damaged line: {name!r} is {event[name]!r}", where=where)
    return event
