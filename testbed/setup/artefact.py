"""Things made once and kept: each is a folder named by the hash of what it was made from.

A folder that has its final name is whole: it was built beside that name, flushed, and renamed. A second
process that wants the same thing waits for the first. A build that was killed leaves a folder `*.part`, which the
next build, or `lab clean`, removes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed import owned
from testbed.errors import EnvironmentFailure
from testbed.setup.paths import PROJECT, cache_dir
from testbed.setup.progress import say, step

REMOVAL_TRIES = 5
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def digest(*parts: str | bytes | Path) -> str:
    """Twelve hexadecimal digits that stand for all the parts; a Path stands for its content."""
    total = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()[:12]


def digest_of(files: Iterable[Path], checkout: Path = PROJECT) -> str:
    """Stands for files of the checkout, with their places in it."""
    return digest(*(part for path in files for part in (str(path.relative_to(checkout)), path)))


@dataclass(frozen=True)
class Artefact:
    """One thing in the cache: `kind`, the hash `key` of its inputs, and how to build it into an empty folder.

    `space_mib` is the disk space that building it takes at its peak. `announced`: whether a person is told of it.
    """

    kind: str
    key: str
    build: Callable[[Path], None]
    space_mib: int
    announced: bool = True

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.key}"

    @property
    def path(self) -> Path:
        return cache_dir() / self.name

    @property
    def ready(self) -> bool:
        try:
            return self.path.is_dir()
        except PermissionError:
            return False  # making it says why

    def make(self) -> Path:
        """The folder, built now if it is not there. Raises EnvironmentFailure when it cannot be."""
        if self.ready:
            return self.path
        with held(self.name, f"another process is making the {self.kind}"):
            if not self.ready:
                self._build()
        return self.path

    def _build(self) -> None:
        for left in _parts(self.name):
            _try_to_remove(left)
        require_space(cache_dir(), self.space_mib)
        # Our own number: a process that outlived a killed build must not write into this one.
        part = cache_dir() / f"{self.name}.{os.getpid()}.part"
        try:
            owned.claim(part, str(part))
            with step(f"making the {self.kind}") if self.announced else contextlib.nullcontext():
                self.build(part)
                os.sync()  # before the name: a power cut must not leave the name with empty files
            part.rename(self.path)
        except OSError as error:
            raise _explained(error, self) from error
        finally:
            _try_to_remove(part)


@contextmanager
def held(name: str, waiting: str) -> Iterator[None]:
    """Hold the lock `name` of the cache; the kernel drops it when the process ends, however it ends."""
    lock = _open_lock(name)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{waiting}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextmanager
def in_use(*names: str) -> Iterator[None]:
    """Say that these artefacts are used now, so that `unused` leaves them alone. Any number of users may.

    A cache of somebody else's that we may only read has no locks for us, and is his to look after.
    """
    locks: list[int] = []
    try:
        for name in names:
            with contextlib.suppress(EnvironmentFailure):
                locks.append(_open_lock(name))
                fcntl.flock(locks[-1], fcntl.LOCK_SH)
                os.utime(locks[-1])
        yield
    finally:
        for lock in locks:
            os.close(lock)


def last_used(name: str) -> float:
    """When this artefact was last used or made, as file systems tell times. Of the lock: guests see the artefact's."""
    paths = cache_dir() / "locks" / name, cache_dir() / name
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


@contextmanager
def unused(name: str) -> Iterator[bool]:
    """Whether nobody makes or uses this artefact; if so nobody begins to while the context lasts."""
    lock = _open_lock(name)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def leftovers() -> list[Path]:
    """What killed builds left, without what another process is building now."""
    left: list[Path] = []
    for part in filter(owned.is_own, _parts("*")):
        with unused(part.name.rsplit(".", 2)[0]) as free:
            if free:
                left.append(part)
    return left


def require_space(folder: Path, mib: int) -> None:
    """Raise EnvironmentFailure when fewer than `mib` MiB are free where `folder` is."""
    free = shutil.disk_usage(folder).free // 2**20
    if free < mib:
        raise EnvironmentFailure(
            f"{free} MiB are free, {mib} MiB are needed",
            where=str(folder),
            allowed="more free space there, or LAB_CACHE set to a folder that has it",
            next_command="./lab clean --cache; df -h",
        )


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, folders without write permission too.

    Never goes into another file system: a killed build of a tree can leave the machine's /sys mounted in it. Raises
    EnvironmentFailure when what is mounted there cannot be detached.
    """
    if not folder.exists():
        return
    for mounted in mounted_below(folder):
        if subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False).returncode != 0:
            raise EnvironmentFailure(
                "a file system is mounted in a folder that is to be removed",
                where=str(mounted),
                allowed="root, who may unmount it",
                next_command=f"sudo umount {mounted}; ./lab clean",
            )

    def retry(function: Callable[[str], object], path: str, _: object) -> None:
        os.chmod(os.path.dirname(path), 0o700)
        function(path)

    for entry in folder.iterdir():  # the mark last: what is left by an interruption is ours still
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, onerror=retry)
    shutil.rmtree(folder, onerror=retry)


def mounted_below(folder: Path, mountinfo: str | None = None) -> list[Path]:
    """What is mounted in a folder, the innermost first. `mountinfo` is the text of /proc/self/mountinfo."""
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text()
    points = (line.split()[4].encode().decode("unicode_escape") for line in mountinfo.splitlines())
    inside = folder.resolve()
    return sorted((Path(point) for point in points if inside in Path(point).parents), reverse=True)


def _try_to_remove(left: Path) -> None:
    """What a killed build started may still be ending, and write meanwhile; nobody reads there, so it may stay."""
    if not owned.is_own(left):
        return
    for _ in range(REMOVAL_TRIES):
        try:
            remove(left)
            return
        except (OSError, EnvironmentFailure):
            time.sleep(1)
    say(f"{left} cannot be removed now; ./lab clean will")


def _open_lock(name: str) -> int:
    folder = cache_dir() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EnvironmentFailure(
            f"the cache cannot be written: {error.strerror}",
            where=str(folder),
            allowed="a folder that you may write; set LAB_CACHE to choose another",
            next_command="LAB_CACHE=/var/tmp/lab-$USER ./lab doctor",
        ) from error


def _parts(name: str) -> list[Path]:
    return sorted(cache_dir().glob(f"{name}.*.part"))


def _explained(error: OSError, artefact: Artefact) -> EnvironmentFailure:
    if error.errno in DISK_FULL:
        return EnvironmentFailure(
            f"the disk filled up while making the {artefact.kind}",
            where=str(cache_dir()),
            allowed=f"{artefact.space_mib} MiB free, or LAB_CACHE set to a folder that has them",
            next_command="df -h; ./lab doctor",
        )
    return EnvironmentFailure(
        f"making the {artefact.kind} failed: {error.strerror or error}",
        where=str(error.filename or cache_dir()),
        allowed="a cache that this user may write to; set LAB_CACHE to choose another",
        next_command="./lab doctor",
    )
