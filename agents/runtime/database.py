"""SQLite with errors that name the file and the kind of error. Knows nothing of a database's content."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Self


def connect(path: Path | str, *, read_only: bool = False, timeout_s: float = 5.0) -> sqlite3.Connection:
    """A connection in autocommit mode. It, and everything done over it, raises sqlite3.Error with the file's name, the
    error, and SQLite's name for it."""
    where = f"{Path(path).resolve().as_uri()}?mode=ro" if read_only else str(path)
    try:
        made = sqlite3.connect(where, isolation_level=None, timeout=timeout_s, factory=_Connection, uri=read_only)
    except sqlite3.Error as error:
        raise _named(str(path), error) from error
    made.file = str(path)
    return made


def _named(file: str, error: sqlite3.Error) -> sqlite3.Error:
    kind = getattr(error, "sqlite_errorname", None)
    return type(error)(f"{file}: {error}{f' ({kind})' if kind else ''}")


class _Cursor(sqlite3.Cursor):
    """Rows are read when they are asked for, so a damaged one is found then."""

    connection: _Connection

    def execute(self, sql: str, values: Any = (), /) -> Self:
        try:
            return super().execute(sql, values)
        except sqlite3.Error as error:
            raise _named(self.connection.file, error) from error

    def executemany(self, sql: str, values: Any = (), /) -> Self:
        try:
            return super().executemany(sql, values)
        except sqlite3.Error as error:
            raise _named(self.connection.file, error) from error

    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        try:
            return super().executescript(sql_script)
        except sqlite3.Error as error:
            raise _named(self.connection.file, error) from error

    def fetchone(self) -> Any:
        try:
            return super().fetchone()
        except sqlite3.Error as error:
            raise _named(self.connection.file, error) from error

    def fetchall(self) -> list[Any]:
        try:
            return super().fetchall()
        except sqlite3.Error as error:
            raise _named(self.connection.file, error) from error

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except sqlite3.Error as error:
            raise _named(self.connection.file, error) from error


class _Connection(sqlite3.Connection):
    file = ""

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, values: Any = (), /) -> Any:
        return self.cursor().execute(sql, values)

    def executemany(self, sql: str, values: Any, /) -> Any:
        return self.cursor().executemany(sql, values)

    def executescript(self, sql_script: str, /) -> Any:
        return self.cursor().executescript(sql_script)


__all__ = ["connect"]
