"""Where two runs of one plan first differ: in their records, line by line, and in their captures, frame by frame.

Compares bytes. It must not know what an event means, nor how the runs came to be.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, cast

from testbed.errors import InputError
from testbed.probes.pcap import Frame, read_frames

RECORD = "record.jsonl"
NS = 1_000_000_000
SHOWN = 160


@dataclass(frozen=True)
class Difference:
    """The first place at which `file` differs. `number` counts from 1; `time_s` is the earlier side's."""

    file: str
    number: int | None
    time_s: float | None
    first: str
    second: str

    def lines(self) -> list[str]:
        """For a person."""
        unit = "frame" if self.file.endswith(".pcap") else "line"
        where = self.file if self.number is None else f"{self.file}, {unit} {self.number}"
        when = "" if self.time_s is None else f", {self.time_s:.9f} s"
        return [f"{where}{when}", f"  then {self.first}", f"  now  {self.second}"]


def differences(first: Path, second: Path) -> list[Difference]:
    """At most one for each file that two run folders hold, the record first. Empty when all bytes are the same.

    Raises InputError when a folder has no record.
    """
    differing = [record_difference(first, second)]
    names = sorted({path.name for folder in (first, second) for path in (folder / "pcap").glob("*.pcap")})
    differing += [_capture_difference(first / "pcap" / name, second / "pcap" / name) for name in names]
    return [each for each in differing if each is not None]


def record_difference(first: Path, second: Path) -> Difference | None:
    """The first line of the record that is not the same."""
    with record(first) as one, record(second) as other:
        for number, (a, b) in enumerate(zip_longest(_lines(one), other), 1):
            if a != b:
                times = [moment for moment in (_moment(a), _moment(b)) if moment is not None]
                return Difference(RECORD, number, min(times, default=None), _line_text(a), _line_text(b))
    return None


def _capture_difference(first: Path, second: Path) -> Difference | None:
    name = f"pcap/{first.name}"
    if not (first.exists() and second.exists()):
        there = ["captured" if path.exists() else "not captured" for path in (first, second)]
        return Difference(name, None, None, *there)
    for number, (a, b) in enumerate(zip_longest(frames(first), frames(second)), 1):
        if a != b:
            time_s = min(each.time_ns for each in (a, b) if each is not None) / NS
            return Difference(name, number, time_s, _frame_shown(a), _frame_shown(b))
    if first.read_bytes() != second.read_bytes():
        return Difference(name, None, None, "another header, or one has more frames", "the same frames")
    return None


def frames(path: Path) -> Iterator[Frame]:
    """The frames of a run's capture. InputError for a damaged one."""
    try:
        yield from read_frames(path)
    except (ValueError, OSError) as error:
        raise InputError(str(error), where=str(path), allowed="a pcap file that a run wrote") from error


def record(folder: Path) -> BinaryIO:
    """The record of a run, opened. InputError when there is none that can be."""
    plain, packed = folder / RECORD, folder / f"{RECORD}.gz"
    try:
        if plain.exists():
            return plain.open("rb")
        if packed.exists():
            return cast(BinaryIO, gzip.open(packed, "rb"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(plain)) from error
    raise InputError("the record is missing", where=str(plain), allowed="a folder of a finished run")


def _lines(opened: BinaryIO) -> Iterator[bytes]:
    """A packed record that is cut ends where it is cut, and then differs there."""
    with suppress(EOFError, zlib.error, gzip.BadGzipFile):
        yield from opened


def _moment(line: bytes | None) -> float | None:
    if line is None:
        return None
    try:
        return int(json.loads(line)["t"]) / NS
    except (ValueError, KeyError, TypeError):
        return None


def _line_text(line: bytes | None) -> str:
    if line is None:
        return "(no more lines)"
    text = line.decode(errors="replace").rstrip("\n")
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _frame_shown(frame: Frame | None) -> str:
    if frame is None:
        return "(no more frames)"
    return f"{frame.time_ns / NS:.9f} s, {len(frame.data)} bytes: {frame.data[:40].hex()}"
