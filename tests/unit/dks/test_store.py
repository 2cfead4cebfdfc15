"""The DKS's ledger as another program reads it, while the DKS writes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agents.dks.store import MOST_TAKEN, GenerationLedger, Wish
from agents.policy.errors import PolicyError
from agents.policy.group import MAX_COUNTER, MOST_AHEAD, MOST_VERSIONS_AHEAD
from agents.policy.names import GroupId

GROUP = GroupId("example", "r1", "eth0", "ospf")
OLD, NEW = b"the old key", b"the new key"


def test_one_who_looks_sees_what_the_dks_has_written_and_cannot_write(tmp_path: Path) -> None:
    ledger = GenerationLedger(tmp_path / "ledger.sqlite")
    reader = GenerationLedger(tmp_path / "ledger.sqlite", read_only=True)
    assert reader.entries() == {}
    assert ledger.next(GROUP, 3) == 2
    assert reader.entries() == {str(GROUP): (3, 2)}
    with pytest.raises(sqlite3.OperationalError):
        reader.next(GROUP, 3)
    assert ledger.entries() == {str(GROUP): (3, 2)}


def test_looking_makes_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        GenerationLedger(tmp_path / "none.sqlite", read_only=True).entries()
    assert not list(tmp_path.iterdir())


def test_a_mark_is_its_key_s_and_another_machine_under_the_name_begins_anew() -> None:
    ledger = GenerationLedger(":memory:")
    assert ledger.reported(GROUP, 3, MOST_AHEAD, key=OLD, newest_version=3)
    assert ledger.next(GROUP, 4, key=NEW) == 2
    assert ledger.last(GROUP, OLD) == (3, MOST_AHEAD) and ledger.last(GROUP, NEW) == (4, 2)
    assert ledger.entries() == {str(GROUP): (3, MOST_AHEAD)}, "who looks sees the highest of all"


@pytest.mark.parametrize(
    ("version", "generation"), [(3, MAX_COUNTER), (3, 9 + MOST_AHEAD), (MAX_COUNTER, 9), (4 + MOST_VERSIONS_AHEAD, 9)]
)
def test_a_report_that_is_too_far_ahead_is_refused_and_nothing_is_kept(version: int, generation: int) -> None:
    ledger = GenerationLedger(":memory:")
    ledger.reported(GROUP, 3, 8, key=OLD, newest_version=3)
    with pytest.raises(PolicyError, match="too far ahead"):
        ledger.reported(GROUP, version, generation, key=OLD, newest_version=3)
    assert ledger.last(GROUP) == (3, 8)


@pytest.mark.parametrize("last", [MAX_COUNTER, MAX_COUNTER - 1, MAX_COUNTER - 2])
def test_a_group_without_a_number_more_is_an_error_and_no_end(last: int) -> None:
    ledger = GenerationLedger(":memory:")
    ledger.reported(GROUP, 3, last, key=OLD)
    if last < MAX_COUNTER - 1:
        assert ledger.next(GROUP, 3, key=OLD) == MAX_COUNTER - 1
    with pytest.raises(PolicyError, match="no generation after"):
        ledger.next(GROUP, 3, key=OLD)


def test_a_ledger_of_the_format_before_is_taken_over_by_the_key_that_asks_first(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as older:
        older.executescript(
            "CREATE TABLE generations (name TEXT PRIMARY KEY, version INTEGER, generation INTEGER, source TEXT);"
            f"INSERT INTO generations VALUES ('{GROUP}', 3, 41, 'made');"
        )
    ledger = GenerationLedger(path)
    assert ledger.entries() == {str(GROUP): (3, 41)}
    assert ledger.next(GROUP, 3, key=OLD) == 42
    assert ledger.next(GROUP, 4, key=NEW) == 2
    ledger.close()
    assert GenerationLedger(path).last(GROUP, OLD) == (3, 42)


def test_a_ledger_of_a_later_format_is_not_written_to(tmp_path: Path) -> None:
    GenerationLedger(tmp_path / "ledger.sqlite").close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as later:
        later.execute("PRAGMA user_version = 99")
    with pytest.raises(sqlite3.DatabaseError, match="format 99"):
        GenerationLedger(tmp_path / "ledger.sqlite")


def test_a_full_disk_is_the_error_of_one_operation_and_the_ledger_goes_on(tmp_path: Path) -> None:
    ledger = GenerationLedger(tmp_path / "ledger.sqlite")
    assert ledger.next(GROUP, 1) == 2
    connection = ledger._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        for number in range(1000):
            ledger.next(GroupId("example", f"x{number}", "eth0", "ospf"), 1)
    assert not connection.in_transaction
    assert ledger.next(GROUP, 1) == 4, "a number that needs no more room"
    connection.execute("PRAGMA max_page_count = 100000")
    assert ledger.next(GroupId("example", "new", "eth0", "ospf"), 1) == 2


def test_a_commit_that_is_refused_leaves_no_transaction_open_and_no_number_behind(tmp_path: Path) -> None:
    ledger = GenerationLedger(tmp_path / "ledger.sqlite")
    connection = ledger._connection
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("CREATE TABLE refusing (mark INTEGER REFERENCES marks2 (mark) DEFERRABLE INITIALLY DEFERRED)")
    connection.execute("CREATE TABLE marks2 (mark INTEGER PRIMARY KEY)")
    connection.execute("CREATE TRIGGER refuse AFTER INSERT ON marks BEGIN INSERT INTO refusing VALUES (1); END")
    with pytest.raises(sqlite3.IntegrityError):
        ledger.next(GROUP, 1)
    assert not connection.in_transaction and ledger.last(GROUP) == (0, 0)
    connection.execute("DROP TRIGGER refuse")
    assert ledger.next(GROUP, 1) == 2


def test_a_locked_ledger_is_the_error_of_one_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.dks.store._PATIENCE_S", 0.0)
    ledger = GenerationLedger(tmp_path / "ledger.sqlite")
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            ledger.next(GROUP, 1)
        other.execute("ROLLBACK")
    assert ledger.next(GROUP, 1) == 2


OTHER = GroupId("example", "r2", "eth0", "ospf")


def set_aside(ledger: GenerationLedger, ahead: int = 0) -> None:
    """A number of the other group, beside one of the first."""
    ledger.next(GROUP, 1, key=OLD, others=lambda: [Wish(OTHER, NEW, ahead)])


def test_a_number_that_was_set_aside_is_used_once_and_is_no_mark_before(tmp_path: Path) -> None:
    ledger = GenerationLedger(tmp_path / "ledger.sqlite")
    set_aside(ledger, ahead=100)
    assert ledger.last(OTHER) == (0, 0) and str(OTHER) not in ledger.entries()
    assert ledger.next(OTHER, 1, key=NEW, ahead=7) == 102 and ledger.last(OTHER) == (1, 102)
    assert ledger.next(OTHER, 1, key=NEW) == 104


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("used", [False, True])
def test_a_power_failure_after_a_number_was_set_aside_lets_nobody_have_it_again(
    tmp_path: Path, used: bool, alone: bool
) -> None:
    """A copy taken when the disk was last waited for is what a power failure leaves: the number's mark is not in it."""
    ledger = GenerationLedger(tmp_path / "ledger.sqlite")
    ledger.begin(alone=alone)
    set_aside(ledger)
    (tmp_path / "after").mkdir()
    for path in tmp_path.glob("ledger.sqlite*"):
        (tmp_path / "after" / path.name).write_bytes(path.read_bytes())
    number = ledger.next(OTHER, 1, key=NEW) if used else 0
    left = GenerationLedger(tmp_path / "after" / "ledger.sqlite")
    assert left.last(OTHER) == (0, 0) and left.next(OTHER, 1, key=NEW) > number


def test_numbers_that_were_taken_are_written_down_together_and_whoever_asks_sees_them(tmp_path: Path) -> None:
    ledger = GenerationLedger(tmp_path / "ledger.sqlite")
    ledger.begin(alone=True)
    others = [GroupId("example", f"x{number}", "eth0", "ospf") for number in range(MOST_TAKEN + 1)]
    ledger.next(GROUP, 1, key=OLD, others=lambda: [Wish(each, NEW) for each in others])
    assert [ledger.next(each, 1, key=NEW) for each in others] == [2] * len(others)
    reader = GenerationLedger(tmp_path / "ledger.sqlite", read_only=True)
    assert len(reader.entries()) == 1 + MOST_TAKEN, "no more are held back"
    assert ledger.last(others[-1]) == (1, 2) and len(reader.entries()) == 1 + len(others)
    assert ledger.reported(others[0], 1, 51, key=NEW) and ledger.next(others[0], 1, key=NEW) == 52


def test_a_number_that_was_set_aside_is_left_out_where_the_group_came_further_or_wants_another(tmp_path: Path) -> None:
    ledger, worker = GenerationLedger(tmp_path / "ledger.sqlite"), GenerationLedger(tmp_path / "ledger.sqlite")
    for further in (
        lambda: ledger.reported(OTHER, 1, 51, key=NEW),
        lambda: worker.next(OTHER, 1, key=NEW),
        lambda: set_aside(worker),
        ledger.begin,
    ):
        set_aside(ledger)
        kept = ledger._limit(OTHER, NEW)
        further()
        most = max(kept, ledger._limit(OTHER, NEW), ledger.last(OTHER, NEW)[1])
        assert ledger.next(OTHER, 1, key=NEW) > most
    set_aside(ledger)
    assert ledger.next(OTHER, 1, key=NEW, ahead=1000) > 1000, "one that nobody else is likely to come to"
    set_aside(ledger)
    assert ledger.next(OTHER, 1, key=OLD) == 2, "of another machine under the name"


def test_a_group_that_has_no_number_left_keeps_no_other_from_its_own() -> None:
    ledger = GenerationLedger(":memory:")
    ledger.reported(OTHER, 1, MAX_COUNTER, key=NEW)
    set_aside(ledger)
    with pytest.raises(PolicyError, match="no generation after"):
        ledger.next(OTHER, 1, key=NEW)


def test_the_ledger_follows_a_speaker_that_goes_on_under_an_earlier_version() -> None:
    """Its folder was put back: its version is lower, and its generations go on."""
    ledger = GenerationLedger(":memory:")
    assert ledger.reported(GROUP, 4, 21, key=OLD, newest_version=4)
    assert ledger.reported(GROUP, 1, 23, key=OLD, newest_version=4)
    assert not ledger.reported(GROUP, 1, 23, key=OLD) and not ledger.reported(GROUP, 4, 21, key=OLD)
    assert ledger.last(GROUP, OLD) == (4, 23) and ledger.next(GROUP, 4, key=OLD) == 24


@pytest.mark.parametrize("what", ["no database", "a page of nothing", "a lost table", "a folder"])
def test_what_is_wrong_with_a_ledger_names_the_file_and_the_kind(tmp_path: Path, what: str) -> None:
    path = tmp_path / "generations.sqlite"
    if what == "no database":
        path.write_bytes(b"no SQLite file " * 1000)
    elif what == "a folder":
        path.mkdir()
    else:
        ledger = GenerationLedger(path)
        for number in range(500):
            ledger.next(GroupId("example", f"r{number}", "eth0", "ospf"), 1)
        if what == "a lost table":
            ledger._connection.execute("DROP TABLE marks")
        ledger.close()
        if what == "a page of nothing":
            whole = bytearray(path.read_bytes())
            whole[4096 * 2 :] = bytes(len(whole) - 4096 * 2)
            path.write_bytes(whole)
    reads = what != "a lost table"
    with pytest.raises(sqlite3.Error) as raised:
        ledger = GenerationLedger(path, read_only=not reads)
        ledger.entries()
    assert str(raised.value).startswith(f"{path}: ") and "(SQLITE_" in str(raised.value)
    assert str(raised.value).count(str(path)) == 1


def test_hundreds_of_groups_cost_a_few_statements_of_the_ledger(tmp_path: Path) -> None:
    ledger = GenerationLedger(tmp_path / "ledger.sqlite")
    ledger.begin(alone=True)
    others = [GroupId("example", f"x{number}", "eth0", "ospf") for number in range(MOST_TAKEN)]
    ledger.reported(others[7], 1, 51, key=NEW)
    statements: list[str] = []
    ledger._connection.set_trace_callback(statements.append)
    ledger.next(GROUP, 1, key=OLD, others=lambda: [Wish(each, NEW) for each in others])
    asked = [each for each in statements if not each.startswith("INSERT INTO set_aside")]
    assert len(statements) - len(asked) == MOST_TAKEN and len(asked) < 16
    statements.clear()
    taken = [ledger.next(each, 1, key=NEW) for each in others]
    assert not statements, "numbers that were set aside need no look at the ledger"
    assert taken[7] == 52 and taken[:7] == [2] * 7


def test_set_aside_numbers_follow_what_an_older_ledger_had_and_what_was_set_aside_before(tmp_path: Path) -> None:
    ledger = GenerationLedger(tmp_path / "ledger.sqlite")
    ledger.next(OTHER, 1)  # as an older ledger had it: of no key
    set_aside(ledger)
    ledger.begin()
    set_aside(ledger)
    assert ledger.next(OTHER, 1, key=NEW) == 8, "4 and 6 may have been used"
