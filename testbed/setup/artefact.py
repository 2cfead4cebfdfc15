"""Things made once and kept: each is a folder named by the hash of what it was made from.

A folder that has its final name is whole: it was built beside that name, flushed, and renamed. A second
process that wants the same thing waits for the first. A broken build leaves a folder `*.part`, which the next
build removes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.setup.paths import cache_dir
from testbed.setup.progress import say, step


def digest(*parts: str | bytes | Path) -> str:
    """Twelve hexadecimal digits that stand for all the parts; a Path stands for its content."""
    total = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()[:12]


@dataclass(frozen=True)
class Artefact:
    """One thing in the cache: `kind`, the hash `key` of its inputs, and how to build it into an empty folder.

    `space_mib` is the disk space that building it takes at its peak.
    """

    kind: str
    key: str
    build: Callable[[Path], None]
    space_mib: int

    @property
    def path(self) -> Path:
        return cache_dir() / f"{self.kind}-{self.key}"

    @property
    def ready(self) -> bool:
        return self.path.is_dir()

    def make(self) -> Path:
        """The folder, built now if it is not there. Raises EnvironmentFailure when it cannot be."""
        if self.ready:
            return self.path
        with held(f"{self.kind}-{self.key}", f"another process makes the {self.kind}"):
            if not self.ready:
                self._build()
        return self.path

    def _build(self) -> None:
        part = self.path.with_name(self.path.name + ".part")
        _remove(part)
        require_space(part.parent, self.space_mib)
        try:
            part.mkdir()
            with step(f"making the {self.kind}"):
                self.build(part)
            os.sync()
            part.rename(self.path)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise EnvironmentFailure(
                    f"the disk filled up while making the {self.kind}",
                    where=str(part.parent),
                    allowed=f"{self.space_mib} MiB free, or LAB_CACHE set to a folder that has them",
                    next_command="df -h; ./lab doctor",
                ) from error
            raise
        finally:
            _remove(part)


@contextmanager
def held(name: str, waiting: str) -> Iterator[None]:
    """Hold the lock `name` of the cache; the kernel drops it when the process ends, however it ends."""
    folder = cache_dir() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EnvironmentFailure(
            f"the cache cannot be written: {error.strerror}",
            where=str(folder),
            allowed="a folder of yours; set LAB_CACHE to choose another",
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{waiting}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def require_space(folder: Path, mib: int) -> None:
    """Raise EnvironmentFailure when fewer than `mib` MiB are free where `folder` is."""
    free = shutil.disk_usage(folder).free // 2**20
    if free < mib:
        raise EnvironmentFailure(
            f"{free} MiB are free, {mib} MiB are needed",
            where=str(folder),
            allowed="more room there, or LAB_CACHE set to a folder that has it",
            next_command="./lab clean --cache; df -h",
        )


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
