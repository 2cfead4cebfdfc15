"""The ledger of generations: the highest one of every group that was made here or reported, in SQLite; and the newest
revocation list that was in force.

A number is in the ledger, synced, before it is used: so after a failure none is used twice. The DKS's worker processes
share it: what depends on what is written is read and written in one transaction. Keys are not in it. Knows nothing of
messages.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.policy.errors import PolicyError
from agents.policy.group import MAX_COUNTER, MOST_AHEAD, MOST_VERSIONS_AHEAD
from agents.policy.names import GroupId
from agents.policy.revocation import key_hash
from agents.runtime.database import connect
from agents.runtime.storage import later_format, transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS marks (
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 0),
    generation INTEGER NOT NULL CHECK (generation >= 0),
    source TEXT NOT NULL CHECK (source IN ('made', 'reported')),
    PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID
"""
"""`key`: SHA-256 of the speaker's key, hexadecimal. What a speaker came to, or lied, is nothing to another one that
gets its name."""
_UNKNOWN = ""
"""Whose an older ledger's marks are, which did not say: of whichever key asks first."""
SCHEMA_VERSION = 3

_REVOCATION = """
CREATE TABLE IF NOT EXISTS revocation (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    signed BLOB NOT NULL,
    version INTEGER NOT NULL DEFAULT 0
) STRICT
"""
_PATIENCE_S = 30.0
"""How long one process waits for another's transaction, which takes as long as the disk takes."""


@dataclass(slots=True)
class Spent:
    """Transactions since the start, and the time in them, in seconds."""

    count: int = 0
    seconds: float = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """One more of them."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.count += 1
            self.seconds += time.monotonic() - began


class GenerationLedger:
    """One file; the DKS, in one or several processes, is its only writer."""

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        """Open or make it (":memory:" for tests). sqlite3.DatabaseError when it is damaged.

        `read_only`: for one who looks while the DKS is at work; OperationalError when there is none."""
        self.place, self.spent = str(path), Spent()
        self._connection = connect(path, read_only=read_only, timeout_s=_PATIENCE_S)
        if read_only:
            self._refuse_later()
            return
        self._refuse_later()  # before anything is written
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(_SCHEMA)
        self._connection.execute(_REVOCATION)
        self._take_over()
        columns = {row[1] for row in self._connection.execute("PRAGMA table_info(revocation)")}
        if "version" not in columns:  # a ledger of before there were workers
            self._connection.execute("ALTER TABLE revocation ADD COLUMN version INTEGER NOT NULL DEFAULT 0")

    def _refuse_later(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            self._connection.close()
            raise sqlite3.DatabaseError(later_format(f"{self.place}: a ledger", version, SCHEMA_VERSION))

    @property
    def older(self) -> bool:
        """Whether it was opened to be looked at, and is of a format that the next start takes over."""
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        return bool(version < SCHEMA_VERSION)

    def _take_over(self) -> None:
        """The marks of a ledger of before they belonged to keys."""
        with transaction(self._connection):
            older = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'generations'"
            if self._connection.execute(older).fetchone():
                self._connection.execute(
                    "INSERT OR IGNORE INTO marks SELECT name, ?, version, generation, source FROM generations",
                    (_UNKNOWN,),
                )
                self._connection.execute("DROP TABLE generations")
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def last(self, group: GroupId, key: bytes | None = None) -> tuple[int, int]:
        """The highest (v, g) of this group under this speaker's key (SubjectPublicKeyInfo), or under any; (0, 0) when
        there was none."""
        keys = "" if key is None else "AND key IN (?, ?)"
        row = self._connection.execute(
            f"SELECT version, generation FROM marks WHERE name = ? {keys} ORDER BY generation DESC",
            (str(group),) if key is None else (str(group), _hash(key), _UNKNOWN),
        ).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def next(self, group: GroupId, version: int, *, key: bytes = b"", ahead: int = 0) -> int:
        """The next generation of a DKS, an even one since LKSs make the odd ones, under this version of the speaker's
        policy and this key of it. It is in the ledger when this returns. `ahead`: how many are left out. PolicyError
        when no generation is left."""
        with self.spent.timed(), transaction(self._connection):
            generation = self.last(group, key)[1] + 1 + ahead
            # Policy can have one of them go on where the other has stopped, and some hear of it late.
            generation += generation % 2
            if generation > MAX_COUNTER:
                raise PolicyError(f"{group}: there is no generation after {generation - 1}")
            self._set(group, version, generation, "made", key)
        return generation

    def reported(
        self, group: GroupId, version: int, generation: int, *, key: bytes = b"", newest_version: int | None = None
    ) -> bool:
        """An LKS made this one while we were away. False when we know of as high a one. `newest_version`: of the
        speaker's policy, where it is the LKS's own word: PolicyError when that is further ahead than anybody could
        be."""
        if newest_version is not None:
            self._believable(group, version, generation, key, newest_version)
        if not _beyond((version, generation), self.last(group, key)):
            return False
        with self.spent.timed(), transaction(self._connection):
            last = self.last(group, key)
            if not _beyond((version, generation), last):
                return False  # another process has just been told
            self._set(group, max(version, last[0]), max(generation, last[1]), "reported", key)
        return True

    def _believable(self, group: GroupId, version: int, generation: int, key: bytes, newest_version: int) -> None:
        last = self.last(group, key)[1]
        if version > newest_version + MOST_VERSIONS_AHEAD or generation > last + MOST_AHEAD:
            raise PolicyError(
                f"{group.router} says that there was generation {generation} of {group} under version {version}: "
                f"too far ahead of {last} and {newest_version}"
            )

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
        rows = self._connection.execute("SELECT name, version, max(generation) FROM marks GROUP BY name ORDER BY name")
        return {str(name): (int(version), int(generation)) for name, version, generation in rows}

    def _set(self, group: GroupId, version: int, generation: int, source: str, key: bytes = b"") -> None:
        self._connection.execute(
            "INSERT INTO marks VALUES (?, ?, ?, ?, ?) ON CONFLICT (name, key) DO UPDATE"
            " SET version = excluded.version, generation = excluded.generation, source = excluded.source",
            (str(group), _hash(key), version, generation, source),
        )
        if key:  # it has taken over what an older ledger had
            self._connection.execute("DELETE FROM marks WHERE name = ? AND key = ?", (str(group), _UNKNOWN))


def _beyond(said: tuple[int, int], last: tuple[int, int]) -> bool:
    """Whether a number of these was not known: a speaker whose folder was put back has a lower version, and goes on
    with higher generations all the same."""
    return said[0] > last[0] or said[1] > last[1]


def _hash(key: bytes) -> str:
    return key_hash(key).hex() if key else _UNKNOWN
