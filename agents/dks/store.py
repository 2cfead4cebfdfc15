"""The book of generations: the highest one of every group that was made here or reported, in SQLite; and the newest
revocation list that was in force.

A number is in the book, synced, before it is used: so after a failure none is used twice. Keys are
not in it. Knows nothing of messages.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from agents.policy.names import GroupId

_SCHEMA = """
CREATE TABLE IF NOT EXISTS generations (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version >= 0),
    generation INTEGER NOT NULL CHECK (generation >= 0),
    source TEXT NOT NULL CHECK (source IN ('made', 'reported'))
) STRICT, WITHOUT ROWID
"""

_REVOCATION = """
CREATE TABLE IF NOT EXISTS revocation (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), signed BLOB NOT NULL) STRICT
"""


class GenerationBook:
    """One file; the DKS is its only writer."""

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        """Open or make it (":memory:" for tests). sqlite3.DatabaseError when it is damaged.

        `read_only`: for one who looks while the DKS is at work; OperationalError when there is none."""
        if read_only:
            self._connection = sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)
            return
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(_SCHEMA)
        self._connection.execute(_REVOCATION)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def last(self, group: GroupId) -> tuple[int, int]:
        """The highest (v, g) of this group; (0, 0) when there was none."""
        row = self._connection.execute(
            "SELECT version, generation FROM generations WHERE name = ?", (str(group),)
        ).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def next(self, group: GroupId, version: int, *, even: bool = False) -> int:
        """The next generation, under this version of the speaker's policy: in the book when this returns.

        `even`: the next even one, where an LKS makes the odd ones."""
        generation = self.last(group)[1] + 1
        if even:
            generation += generation % 2
        self._set(group, version, generation, "made")
        return generation

    def reported(self, group: GroupId, version: int, generation: int) -> bool:
        """An LKS made this one while we were away. False when we know of as high a one."""
        if (version, generation) <= self.last(group):
            return False
        self._set(group, version, max(generation, self.last(group)[1]), "reported")
        return True

    def revocation(self) -> bytes | None:
        """The newest revocation list that was in force here."""
        row = self._connection.execute("SELECT signed FROM revocation").fetchone()
        return None if row is None else bytes(row[0])

    def keep_revocation(self, signed: bytes) -> None:
        """This list is in force from now on: on the disk when this returns."""
        self._connection.execute("INSERT OR REPLACE INTO revocation VALUES (1, ?)", (signed,))

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
