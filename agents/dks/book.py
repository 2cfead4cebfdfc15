"""The DKS's book: how far the generations of every group have gone, through restarts.

A generation is used only when a mark at or above it is on the disk. Marks are set in blocks; a restart jumps past
the block, so no generation is ever given two keys. Holds numbers, never keys. Gives Persist effects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agents.policy import cbor
from agents.policy.errors import PolicyError
from agents.policy.names import GroupId
from agents.runtime.effects import Persist
from agents.runtime.storage import CorruptRecord, seal, unseal

_KIND = "router-keys/dks-book/1"
_PREFIX = "book-"
BLOCK = 16


def file_name(router: str) -> str:
    """The file of all groups that this router speaks in."""
    return f"{_PREFIX}{router}"


def is_book(name: str) -> bool:
    """Whether a file of the state folder is part of the book."""
    return name.startswith(_PREFIX)


class Book:
    """Generations by group. `records`: the files as they were read, by name. CorruptRecord for a damaged one."""

    def __init__(self, records: Mapping[str, bytes], emit: Callable[[Persist], None]) -> None:
        self._emit = emit
        self._marks: dict[str, dict[str, int]] = {}
        self._current: dict[GroupId, int] = {}
        for name, record in records.items():
            if is_book(name):
                self._marks[name.removeprefix(_PREFIX)] = _decode(unseal(_KIND, record))

    def current(self, group: GroupId) -> int:
        """The last generation that may have been used; 0 when there was none."""
        return max(self._current.get(group, 0), self._mark(group) if group not in self._current else 0)

    def next(self, group: GroupId) -> int:
        """A generation that was never used, safe on the disk."""
        generation = self.current(group) + 1
        self._advance(group, generation)
        return generation

    def seen(self, group: GroupId, generation: int) -> None:
        """Somebody else used this generation: go on above it."""
        if generation > self.current(group):
            self._advance(group, generation)

    def _mark(self, group: GroupId) -> int:
        return self._marks.get(group.router, {}).get(str(group), 0)

    def _advance(self, group: GroupId, generation: int) -> None:
        self._current[group] = generation
        if generation > self._mark(group):
            self._marks.setdefault(group.router, {})[str(group)] = generation + BLOCK - 1
            record = cbor.encode(dict(sorted(self._marks[group.router].items())))
            self._emit(Persist(file_name(group.router), seal(_KIND, record)))


def _decode(payload: bytes) -> dict[str, int]:
    try:
        value = cbor.decode(payload)
    except PolicyError as error:
        raise CorruptRecord(str(error)) from error
    if not isinstance(value, dict) or not all(isinstance(name, str) and _counter(mark) for name, mark in value.items()):
        raise CorruptRecord("the book has another form")
    return {str(name): int(mark) for name, mark in value.items()}


def _counter(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
