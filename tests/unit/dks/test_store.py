"""The DKS's book as another program reads it, while the DKS writes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from agents.dks.store import GenerationBook
from agents.policy.names import GroupId

GROUP = GroupId("example", "r1", "eth0", "ospf")


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
