"""The ledger of generations: the highest one of every group that was made here or reported, in SQLite; and the newest
revocation list that was in force.

A number is in the ledger, synced, before it is used: so after a failure none is used twice. One synced transaction sets
numbers aside for other groups too, which will soon want theirs: what a group then takes is written down later, with
what others took and without waiting for the disk, since the ledger goes on after what was set aside, used or not. The
DKS's worker processes share the ledger: what depends on what is written is read and written in one transaction. Keys
are not in it. Knows nothing of messages.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
SCHEMA_VERSION = 4

_SET_ASIDE = """
CREATE TABLE IF NOT EXISTS set_aside (
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation >= 0),
    PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID
"""
"""The last number of a group that may have been used without a word of it in `marks`."""
_TAKE = """
INSERT INTO marks (name, key, version, generation, source)
SELECT ?1, ?2, ?3, ?4, 'made'
WHERE (SELECT generation FROM set_aside WHERE name = ?1 AND key = ?2) = ?4
AND coalesce((SELECT generation FROM marks WHERE name = ?1 AND key = ?2), 0) = ?5
AND (?2 = '' OR NOT EXISTS (SELECT 1 FROM marks WHERE name = ?1 AND key = ''))
ON CONFLICT (name, key) DO UPDATE
SET version = excluded.version, generation = excluded.generation, source = excluded.source
"""
"""A number that was set aside becomes a group's mark, unless others have made it go further or an older ledger's mark
is still nobody's."""

_REVOCATION = """
CREATE TABLE IF NOT EXISTS revocation (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    signed BLOB NOT NULL,
    version INTEGER NOT NULL DEFAULT 0
) STRICT
"""
_SET = (
    "INSERT INTO marks VALUES (?, ?, ?, ?, ?) ON CONFLICT (name, key) DO UPDATE"
    " SET version = excluded.version, generation = excluded.generation, source = excluded.source"
)
_FORGET_UNKNOWN = f"DELETE FROM marks WHERE name = ? AND key = '{_UNKNOWN}'"
"""A speaker's key has taken over what an older ledger had."""
_TABLES = ("marks", "set_aside")
_AT_ONCE = 256
"""So many groups are looked up in one statement."""
MOST_TAKEN = 256
"""So many groups' numbers are written down together, at most."""
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


@dataclass(frozen=True, slots=True)
class Wish:
    """A group that may want a number soon, under this key of its speaker. `ahead`: as in GenerationLedger.next."""

    group: GroupId
    key: bytes
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class _Aside:
    """A number that this process has set aside. `after`: the highest one that the ledger had of the group then."""

    key: bytes
    generation: int
    after: int
    ahead: bool


class GenerationLedger:
    """One file; the DKS, in one or several processes, is its only writer."""

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        """Open or make it (":memory:" for tests). sqlite3.DatabaseError when it is damaged.

        `read_only`: for one who looks while the DKS is at work; OperationalError when there is none."""
        self.path, self.spent = str(path), Spent()
        self._aside: dict[GroupId, _Aside] = {}
        self._taken: dict[GroupId, tuple[int, _Aside]] = {}
        """Of numbers that were set aside: those that groups took since, with the version of the policy."""
        self._read_only, self._alone = read_only, False
        self._connection = connect(path, read_only=read_only, timeout_s=_PATIENCE_S)
        if read_only:
            self._refuse_later()
            return
        self._refuse_later()  # before anything is written
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._unsynced = self._connection
        if self.path != ":memory:":
            self._unsynced = connect(path, timeout_s=_PATIENCE_S)
            self._unsynced.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute(_SCHEMA)
        self._connection.execute(_SET_ASIDE)
        self._connection.execute(_REVOCATION)
        self._take_over()
        columns = {row[1] for row in self._connection.execute("PRAGMA table_info(revocation)")}
        if "version" not in columns:  # a ledger of before there were workers
            self._connection.execute("ALTER TABLE revocation ADD COLUMN version INTEGER NOT NULL DEFAULT 0")

    def _refuse_later(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            self._connection.close()
            raise sqlite3.DatabaseError(later_format(f"{self.path}: a ledger", version, SCHEMA_VERSION))

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
        if not self._read_only:
            with contextlib.suppress(sqlite3.Error):
                self.write_down()
            self._unsynced.close()
        self._connection.close()

    def last(self, group: GroupId, key: bytes | None = None) -> tuple[int, int]:
        """The highest (v, g) of this group under this speaker's key (SubjectPublicKeyInfo), or under any; (0, 0) when
        there was none."""
        if group in self._taken:
            self.write_down()
        keys = "" if key is None else "AND key IN (?, ?)"
        row = self._connection.execute(
            f"SELECT version, generation FROM marks WHERE name = ? {keys} ORDER BY generation DESC",
            (str(group),) if key is None else (str(group), _hash(key), _UNKNOWN),
        ).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def next(
        self,
        group: GroupId,
        version: int,
        *,
        key: bytes = b"",
        ahead: int = 0,
        others: Callable[[], Iterable[Wish]] = tuple,
    ) -> int:
        """The next generation of a DKS, an even one since LKSs make the odd ones, under this version of the speaker's
        policy and this key of it. It is in the ledger when this returns. `ahead`: how many are left out. `others`:
        asked when the disk has to be waited for anyway, and their numbers are set aside. PolicyError when no generation
        is left."""
        kept = self._aside.pop(group, None)
        if kept is not None and kept.key == key and (kept.ahead or not ahead) and self._take(group, version, kept):
            return kept.generation
        self.write_down()
        with self.spent.timed(), transaction(self._connection):
            generation = self._following(group, key, ahead)
            if generation > MAX_COUNTER:
                raise PolicyError(f"{group}: there is no generation after {generation - 1}")
            self._set(group, version, generation, "made", key)
            wishes = [each for each in others() if each.group != group and each.group not in self._aside]
            aside = self._set_aside(wishes)
        self._aside |= aside
        return generation

    def begin(self, *, alone: bool = False) -> None:
        """A DKS has started: what was set aside before it is left out. `alone`: no other process writes here."""
        self._alone = alone
        self._aside.clear()

    def write_down(self) -> None:
        """Have the numbers that groups took in the ledger. sqlite3.Error: it is tried again."""
        if self._taken:
            with self.spent.timed(), transaction(self._unsynced):
                self._unsynced.executemany(
                    _SET,
                    [
                        (str(group), _hash(kept.key), version, kept.generation, "made")
                        for group, (version, kept) in self._taken.items()
                    ],
                )
                self._unsynced.executemany(
                    _FORGET_UNKNOWN, [(str(group),) for group, (_version, kept) in self._taken.items() if kept.key]
                )
            self._taken.clear()

    def _following(self, group: GroupId, key: bytes, ahead: int) -> int:
        """The number after all that may have been used."""
        return _after(max(self.last(group, key)[1], self._limit(group, key)), ahead)

    def _limit(self, group: GroupId, key: bytes) -> int:
        row = self._connection.execute(
            "SELECT generation FROM set_aside WHERE name = ? AND key = ?", (str(group), _hash(key))
        ).fetchone()
        return int(row[0]) if row else 0

    def _set_aside(self, wishes: Sequence[Wish]) -> dict[GroupId, _Aside]:
        """All in few statements: where hundreds of routers ask, this is most of what the ledger costs."""
        names = {each.group: (str(each.group), _hash(each.key)) for each in wishes}
        marks, limits = (self._generations(table, [name for name, _key in names.values()]) for table in _TABLES)
        given = {}
        for each in wishes:
            name, key = names[each.group]
            after = max(marks.get((name, key), 0), marks.get((name, _UNKNOWN), 0))
            number = _after(max(after, limits.get((name, key), 0)), each.ahead)
            given[each.group] = _Aside(each.key, number, after, bool(each.ahead))
        given = {group: each for group, each in given.items() if each.generation <= MAX_COUNTER}
        self._connection.executemany(
            "INSERT INTO set_aside VALUES (?, ?, ?) ON CONFLICT (name, key) DO UPDATE"
            " SET generation = excluded.generation",
            [(*names[group], each.generation) for group, each in given.items()],
        )
        return given

    def _generations(self, table: str, names: Sequence[str]) -> dict[tuple[str, str], int]:
        """What a table has of groups of these names, by name and key."""
        found: dict[tuple[str, str], int] = {}
        for first in range(0, len(names), _AT_ONCE):
            some = names[first : first + _AT_ONCE]
            places = ", ".join("?" * len(some))
            rows = self._connection.execute(f"SELECT name, key, generation FROM {table} WHERE name IN ({places})", some)
            found |= {(name, key): generation for name, key, generation in rows}
        return found

    def _take(self, group: GroupId, version: int, kept: _Aside) -> bool:
        """Use a number that was set aside, unless the group has come further meanwhile. The disk need not be waited
        for: after a failure the ledger goes on after it all the same."""
        if self._alone:
            if len(self._taken) >= MOST_TAKEN:
                self.write_down()
            self._taken[group] = version, kept
            return True
        name, key = str(group), _hash(kept.key)
        with self.spent.timed():
            done = self._unsynced.execute(_TAKE, (name, key, version, kept.generation, kept.after))
        return bool(done.rowcount)

    def reported(
        self, group: GroupId, version: int, generation: int, *, key: bytes = b"", newest_version: int | None = None
    ) -> bool:
        """An LKS made this one while we were away. False when we know of as high a one. `newest_version`: of the
        speaker's policy, where it is the LKS's own word: PolicyError when that is further ahead than anybody could
        be."""
        if newest_version is not None:
            self.check_believable(group, version, generation, key, newest_version)
        return bool(self.all_reported([(group, version, generation)], key))

    def all_reported(self, said: Iterable[tuple[GroupId, int, int]], key: bytes) -> list[tuple[GroupId, int, int]]:
        """As `reported`, of several groups of one speaker that were told at once, in one transaction: those of which as
        high a one was not known."""
        news = [each for each in said if _beyond(each[1:], self.last(each[0], key))]
        if not news:
            return []
        self.write_down()
        for each in news:
            self._aside.pop(each[0], None)
        fresh = []
        with self.spent.timed(), transaction(self._connection):
            for each in news:
                group, version, generation = each
                last = self.last(group, key)
                if _beyond((version, generation), last):  # else another process has just been told
                    self._set(group, max(version, last[0]), max(generation, last[1]), "reported", key)
                    fresh.append(each)
        return fresh

    def check_believable(self, group: GroupId, version: int, generation: int, key: bytes, newest_version: int) -> None:
        """PolicyError for an LKS's word that is further ahead than anybody could be."""
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
        if not self._read_only:
            self.write_down()
        rows = self._connection.execute("SELECT name, version, max(generation) FROM marks GROUP BY name ORDER BY name")
        return {str(name): (int(version), int(generation)) for name, version, generation in rows}

    def _set(self, group: GroupId, version: int, generation: int, source: str, key: bytes = b"") -> None:
        self._connection.execute(_SET, (str(group), _hash(key), version, generation, source))
        if key:
            self._connection.execute(_FORGET_UNKNOWN, (str(group),))


def _after(generation: int, ahead: int) -> int:
    """The DKS's next number, an even one. Policy can have one of DKS and LKS go on where the other has stopped, and
    some hear of it late."""
    following = generation + 1 + ahead
    return following + following % 2


def _beyond(said: tuple[int, int], last: tuple[int, int]) -> bool:
    """Whether a number of these was not known: a speaker whose folder was put back has a lower version, and goes on
    with higher generations all the same."""
    return said[0] > last[0] or said[1] > last[1]


def _hash(key: bytes) -> str:
    return key_hash(key).hex() if key else _UNKNOWN
