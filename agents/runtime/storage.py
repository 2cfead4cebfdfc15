"""Files that survive a power failure: written whole or not at all, and checksummed; and databases' transactions.

Knows nothing of their content.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import sqlite3  # an LKS has no database, and does not load it

_MAGIC = b"RKS1"
_DIGEST = 32


_LATER = 32
"""The number of later formats of a record that are distinguished from damage."""


class CorruptRecord(Exception):
    """A retained record is truncated, altered or of another kind: it must not be used."""


class LaterRecord(CorruptRecord):
    """A later release wrote this retained record: it is intact, but this release cannot read it."""


def later_format(what: object, version: int, newest: int) -> str:
    """The message about a file of another release, with the remedy."""
    return (
        f"{what} of format {version}, and this release reads up to format {newest}\n"
        "  next:    install the release that wrote it, or a later one; `--version` says which this is"
    )


def open_regular(path: Path) -> BinaryIO:
    """Open a file that an agent reads by itself, whoever put it there. OSError, at once, for a pipe or a device: one
    might never give anything, and the other might never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_all(path: Path, most: int = 1 << 20, *, pipes: bool = False) -> bytes:
    """The octets of a regular file; with `pipes`, of anything: a file named on a command line may be a pipe. OSError,
    also for more than `most`."""
    with path.open("rb") if pipes else open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file, or make it. When this returns, file and folder entry are synced. OSError.

    A device or a pipe of that name is written to, and stays.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)  # a folder refuses
        return
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        _write_synced(fresh, data, mode)
        os.replace(fresh, path)
    except OSError as error:  # it names the requested file, and nothing of the temporary one stays
        with suppress(OSError):
            fresh.unlink()
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error
    sync_folder(path.parent)


def write_new(path: Path, data: bytes, mode: int) -> None:
    """A file that was not there, synced with its folder. FileExistsError when there is one already."""
    _write_synced(path, data, mode)
    sync_folder(path.parent)


def _write_synced(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder and its missing parents. OSError, which says what a path that is no folder is."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error


def sync_folder(path: Path) -> None:
    """Sync a folder's entries. OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def seal(kind: str, payload: bytes) -> bytes:
    """A record with its checksum. `kind` keeps records of different meaning apart."""
    return _MAGIC + sha256(kind.encode() + b"\0" + payload).digest() + payload


def unseal(kind: str, record: bytes) -> bytes:
    """The payload. CorruptRecord when it is not what `seal` made of this kind."""
    payload = record[len(_MAGIC) + _DIGEST :]
    if record[: len(_MAGIC) + _DIGEST] != _MAGIC + sha256(kind.encode() + b"\0" + payload).digest():
        raise CorruptRecord(f"the retained {kind} record is damaged")
    return payload


def unseal_any(stem: str, newest: int, record: bytes) -> tuple[int, bytes]:
    """Format and payload of a record of any format up to `newest`: `seal` made it of the kind STEM/FORMAT. LaterRecord
    for one of a later release; CorruptRecord."""
    for number in (*range(newest, 0, -1), *range(newest + 1, newest + 1 + _LATER)):
        try:
            payload = unseal(f"{stem}/{number}", record)
        except CorruptRecord:
            continue
        if number > newest:
            raise LaterRecord(later_format(f"a {stem} record", number, newest))
        return number, payload
    raise CorruptRecord(
        f"the retained {stem} record is damaged\n  next:    put it back from a backup, or commission the router anew"
    )


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """A transaction: everything in the block or nothing, without writes of others in between (SQLite's BEGIN
    IMMEDIATE)."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")  # it may be refused too, and then the transaction is still open
    except BaseException:
        if database.in_transaction:  # SQLite itself ends a transaction that finds the disk full
            database.execute("ROLLBACK")
        raise
