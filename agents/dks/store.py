"""The book of generations: the highest one of every group that was made here or reported, in SQLite; and the newest
revocation list that was in force.

A number is in the book, synced, before it is used: so after a failure none is used twice. The DKS's worker processes
share it: what depends on what is written is read and written in one transaction. Keys are not in it. Knows nothing of
messages.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from agents.policy.names import GroupId
from agents.runtime.storage import transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS generations (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version >= 0),
    generation INTEGER NOT NULL CHECK (generation >= 0),
    source TEXT NOT NULL CHECK (source IN ('made', 'reported'))
) STRICT, WITHOUT ROWID
"""

_REVOCATION = """
CREATE TABLE IF NOT EXISTS revocation (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    signed BLOB NOT NULL,
    version INTEGER NOT NULL DEFAULT 0
) STRICT
"""
_PATIENCE_S = 30.0
"""How long one process waits for another's transaction, which takes as long as the disk takes."""


class GenerationBook:
    """One file; the DKS, in one or several processes, is its only writer."""

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        """Open or make it (":memory:" for tests). sqlite3.DatabaseError when it is damaged.

        `read_only`: for one who looks while the DKS is at work; OperationalError when there is none."""
        if read_only:
            self._connection = sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)
            return
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE_S)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(_SCHEMA)
        self._connection.execute(_REVOCATION)
        columns = {row[1] for row in self._connection.execute("PRAGMA table_info(revocation)")}
        if "version" not in columns:  # a book of before there were workers
            self._connection.execute("ALTER TABLE revocation ADD COLUMN version INTEGER NOT NULL DEFAULT 0")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def last(self, group: GroupId) -> tuple[int, int]:
        """The highest (v, g) of this group; (0, 0) when there was none."""
        row = self._connection.execute(
            "SELECT version, generation FROM generations WHERE name = ?", (str(group),)
        ).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def next(self, group: GroupId, version: int, *, ahead: int = 0) -> int:
        """The next generation of a DKS, an even one since LKSs make the odd ones, under this version of the speaker's
        policy: in the book when this returns. `ahead`: so many are left out."""
        with transaction(self._connection):
            generation = self.last(group)[1] + 1 + ahead
            # Policy can have one of them go on where the other has stopped, and some hear of it late.
            generation += generation % 2
            self._set(group, version, generation, "made")
        return generation

    def reported(self, group: GroupId, version: int, generation: int) -> bool:
        """An LKS made this one while we were away. False when we know of as high a one."""
        if (version, generation) <= self.last(group):
            return False
        with transaction(self._connection):
            last = self.last(group)
            if (version, generation) <= last:
                return False  # another process has just been told
            self._set(group, version, max(generation, last[1]), "reported")
        return True

    def revocation(self) -> bytes | None:
        """The newest revocation list that was in force here."""
        row = self._connection.execute("SELECT signed FROM revocation").fetchone()
        return None if row is None else bytes(row[0])

    def keep_revocation(self, signed: bytes, version: int) -> None:
        """This list, or the newer one that is there, is in force from now on: on the disk when this returns."""
        self._connection.execute(
            "INSERT INTO revocation (only_one, signed, version) VALUES (1, ?, ?) ON CONFLICT (only_one) DO UPDATE"
            " SET signed = excluded.signed, version = excluded.version WHERE excluded.version > revocation.version",
            (signed, version),
        )

    def entries(self) -> dict[str, tuple[int, int]]:
        """The highest (v, g) of every group, by its name."""
        rows = self._connection.execute("SELECT name, version, generation FROM generations ORDER BY name")
        return {str(name): (int(version), int(generation)) for name, version, generation in rows}

    def _set(self, group: GroupId, version: int, generation: int, source: str) -> None:
        self._connection.execute(
            "INSERT INTO generations VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE"
            " SET version = excluded.version, generation = excluded.generation, source = excluded.source",
            (str(group), version, generation, source),
        )
