"""The retained counters: as they are on a disk, and with a good checksum over whatever (first octet 1)."""

from __future__ import annotations

from collections.abc import Iterator

from agents.lks.retained import _KIND, COUNTERS, Retained
from agents.runtime.effects import Persist
from agents.runtime.storage import CorruptRecord, seal, unseal
from fuzz.harness import Target, promise
from fuzz.samples import network_samples

OWNER = "example/a"


def run(data: bytes) -> object:
    record = seal(_KIND, data[1:]) if data[:1] == b"\x01" else data[1:]
    written: list[Persist] = []
    retained = Retained(record, written.append, owner=OWNER)
    promise(written == [], "reading writes")
    retained.reserve(retained.generation_floor + 1, 16)
    again = Retained(written[-1].data, written.append, owner=OWNER)
    promise(again.generation_floor > retained.generation_floor, "a mark is lost")
    return retained.generation_floor


def seeds() -> Iterator[bytes]:
    for node in network_samples().nodes.values():
        yield b"\x00" + node.files[COUNTERS]
        yield b"\x01" + unseal(_KIND, node.files[COUNTERS])


TARGET = Target(run, (CorruptRecord,), seeds)
