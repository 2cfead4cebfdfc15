"""The DKS's book as another program reads it, while the DKS writes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agents.dks.store import GenerationBook
from agents.policy.errors import PolicyError
from agents.policy.group import MAX_COUNTER, MOST_AHEAD, MOST_VERSIONS_AHEAD
from agents.policy.names import GroupId

GROUP = GroupId("example", "r1", "eth0", "ospf")
OLD, NEW = b"the old key", b"the new key"


def test_one_who_looks_sees_what_the_dks_has_written_and_cannot_write(tmp_path: Path) -> None:
    book = GenerationBook(tmp_path / "book.sqlite")
    reader = GenerationBook(tmp_path / "book.sqlite", read_only=True)
    assert reader.entries() == {}
    assert book.next(GROUP, 3) == 2
    assert reader.entries() == {str(GROUP): (3, 2)}
    with pytest.raises(sqlite3.OperationalError):
        reader.next(GROUP, 3)
    assert book.entries() == {str(GROUP): (3, 2)}


def test_looking_makes_no_book(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        GenerationBook(tmp_path / "none.sqlite", read_only=True).entries()
    assert not list(tmp_path.iterdir())


def test_a_mark_is_its_key_s_and_another_machine_under_the_name_begins_anew() -> None:
    book = GenerationBook(":memory:")
    assert book.reported(GROUP, 3, MOST_AHEAD, key=OLD, newest_version=3)
    assert book.next(GROUP, 4, key=NEW) == 2
    assert book.last(GROUP, OLD) == (3, MOST_AHEAD) and book.last(GROUP, NEW) == (4, 2)
    assert book.entries() == {str(GROUP): (3, MOST_AHEAD)}, "who looks sees the highest of all"


@pytest.mark.parametrize(
    ("version", "generation"), [(3, MAX_COUNTER), (3, 9 + MOST_AHEAD), (MAX_COUNTER, 9), (4 + MOST_VERSIONS_AHEAD, 9)]
)
def test_a_report_that_is_too_far_ahead_is_refused_and_nothing_is_kept(version: int, generation: int) -> None:
    book = GenerationBook(":memory:")
    book.reported(GROUP, 3, 8, key=OLD, newest_version=3)
    with pytest.raises(PolicyError, match="too far ahead"):
        book.reported(GROUP, version, generation, key=OLD, newest_version=3)
    assert book.last(GROUP) == (3, 8)


@pytest.mark.parametrize("last", [MAX_COUNTER, MAX_COUNTER - 1, MAX_COUNTER - 2])
def test_a_group_without_a_number_more_is_an_error_and_no_end(last: int) -> None:
    book = GenerationBook(":memory:")
    book.reported(GROUP, 3, last, key=OLD)
    if last < MAX_COUNTER - 1:
        assert book.next(GROUP, 3, key=OLD) == MAX_COUNTER - 1
    with pytest.raises(PolicyError, match="no generation after"):
        book.next(GROUP, 3, key=OLD)


def test_a_book_of_the_format_before_is_taken_over_by_the_key_that_asks_first(tmp_path: Path) -> None:
    path = tmp_path / "book.sqlite"
    with closing(sqlite3.connect(path)) as older:
        older.executescript(
            "CREATE TABLE generations (name TEXT PRIMARY KEY, version INTEGER, generation INTEGER, source TEXT);"
            f"INSERT INTO generations VALUES ('{GROUP}', 3, 41, 'made');"
        )
    book = GenerationBook(path)
    assert book.entries() == {str(GROUP): (3, 41)}
    assert book.next(GROUP, 3, key=OLD) == 42
    assert book.next(GROUP, 4, key=NEW) == 2
    book.close()
    assert GenerationBook(path).last(GROUP, OLD) == (3, 42)


def test_a_book_of_a_later_format_is_not_written_to(tmp_path: Path) -> None:
    GenerationBook(tmp_path / "book.sqlite").close()
    with closing(sqlite3.connect(tmp_path / "book.sqlite")) as later:
        later.execute("PRAGMA user_version = 99")
    with pytest.raises(sqlite3.DatabaseError, match="format 99"):
        GenerationBook(tmp_path / "book.sqlite")


def test_a_full_disk_is_the_error_of_one_operation_and_the_book_goes_on(tmp_path: Path) -> None:
    book = GenerationBook(tmp_path / "book.sqlite")
    assert book.next(GROUP, 1) == 2
    connection = book._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        for number in range(1000):
            book.next(GroupId("example", f"x{number}", "eth0", "ospf"), 1)
    assert not connection.in_transaction
    assert book.next(GROUP, 1) == 4, "a number that needs no more room"
    connection.execute("PRAGMA max_page_count = 100000")
    assert book.next(GroupId("example", "new", "eth0", "ospf"), 1) == 2


def test_a_commit_that_is_refused_leaves_no_transaction_open_and_no_number_behind(tmp_path: Path) -> None:
    book = GenerationBook(tmp_path / "book.sqlite")
    connection = book._connection
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("CREATE TABLE refusing (mark INTEGER REFERENCES marks2 (mark) DEFERRABLE INITIALLY DEFERRED)")
    connection.execute("CREATE TABLE marks2 (mark INTEGER PRIMARY KEY)")
    connection.execute("CREATE TRIGGER refuse AFTER INSERT ON marks BEGIN INSERT INTO refusing VALUES (1); END")
    with pytest.raises(sqlite3.IntegrityError):
        book.next(GROUP, 1)
    assert not connection.in_transaction and book.last(GROUP) == (0, 0)
    connection.execute("DROP TRIGGER refuse")
    assert book.next(GROUP, 1) == 2


def test_a_locked_book_is_the_error_of_one_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.dks.store._PATIENCE_S", 0.0)
    book = GenerationBook(tmp_path / "book.sqlite")
    with closing(sqlite3.connect(tmp_path / "book.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            book.next(GROUP, 1)
        other.execute("ROLLBACK")
    assert book.next(GROUP, 1) == 2


def test_the_book_follows_a_speaker_that_goes_on_under_an_earlier_version() -> None:
    """Its folder was put back: its version is lower, and its generations go on."""
    book = GenerationBook(":memory:")
    assert book.reported(GROUP, 4, 21, key=OLD, newest_version=4)
    assert book.reported(GROUP, 1, 23, key=OLD, newest_version=4)
    assert not book.reported(GROUP, 1, 23, key=OLD) and not book.reported(GROUP, 4, 21, key=OLD)
    assert book.last(GROUP, OLD) == (4, 23) and book.next(GROUP, 4, key=OLD) == 24


@pytest.mark.parametrize("what", ["no database", "a page of nothing", "a lost table", "a folder"])
def test_what_is_wrong_with_a_book_names_the_file_and_the_kind(tmp_path: Path, what: str) -> None:
    path = tmp_path / "generations.sqlite"
    if what == "no database":
        path.write_bytes(b"no SQLite file " * 1000)
    elif what == "a folder":
        path.mkdir()
    else:
        book = GenerationBook(path)
        for number in range(500):
            book.next(GroupId("example", f"r{number}", "eth0", "ospf"), 1)
        if what == "a lost table":
            book._connection.execute("DROP TABLE marks")
        book.close()
        if what == "a page of nothing":
            whole = bytearray(path.read_bytes())
            whole[4096 * 2 :] = bytes(len(whole) - 4096 * 2)
            path.write_bytes(whole)
    reads = what != "a lost table"
    with pytest.raises(sqlite3.Error) as raised:
        book = GenerationBook(path, read_only=not reads)
        book.entries()
    assert str(raised.value).startswith(f"{path}: ") and "(SQLITE_" in str(raised.value)
    assert str(raised.value).count(str(path)) == 1
