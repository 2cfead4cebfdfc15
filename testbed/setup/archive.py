"""Debian packages in exactly the versions that locks/debian.txt names, and fetching those.

The mirror is asked first, the snapshot that LAB_SNAPSHOT names next; where neither has a locked package, the newest is
taken and said. apt does it with lists of our own, so that the host's sources and package lists are not touched. Knows
nothing of what the packages are for.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import EnvironmentFailure, InputError
from testbed.owned import claim
from testbed.setup import mirrors
from testbed.setup.artefact import held
from testbed.setup.command import run
from testbed.setup.host_packages import APT_OPTIONS
from testbed.setup.paths import PROJECT, cache_dir
from testbed.setup.progress import say, step

LOCK = PROJECT / "locks" / "debian.txt"
SECTIONS = {
    "guest": "the guest in which runs are played",
    "tests": "additions of the tests' guest",
    "kernel": "the kernel's source",
    "machine": "the machines that boot inside the guest",
    "debian-12": "a clean Debian 12, to install the agents' packages in",
    "debian-13": "a clean Debian 13",
    "lintian": "checkers for packages and images of the agents",
}
FOLDER = "debian"
SUITE = "trixie"
SNAPSHOT = "LAB_SNAPSHOT"
"""Names the environment's word for a snapshot service: DEBIAN and DEBIAN-SECURITY are below it, by time."""
SUITES = ("{}", "{}-updates", "{}-backports")
"""Of a release, by its name."""
SHOWN = 8
"""So many packages that differ are named, and the others counted."""
_TIME = re.compile(r"# resolved at (\d{8}T\d{6}Z)")


@dataclass(frozen=True, order=True)
class Package:
    """One binary package, and the SHA-256 of its file."""

    name: str
    version: str
    architecture: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} {self.architecture} {self.sha256}"

    @property
    def file(self) -> str:
        """As apt names it."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True)
class Resolved:
    """What was found. `changed` says in words where it is not what the lock names."""

    packages: tuple[Package, ...]
    changed: tuple[str, ...] = ()


def read(lock: Path | None = None) -> dict[str, tuple[Package, ...]]:
    """The lock by section; empty sections where there is none. InputError for a line that is none of a lock."""
    lock = lock or LOCK
    by_section: dict[str, list[Package]] = {name: [] for name in SECTIONS}
    section = ""
    for number, line in enumerate(lock.read_text().splitlines() if lock.exists() else (), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if line[1:-1] in by_section and line == f"[{line[1:-1]}]":
            section = line[1:-1]
        elif section and len(words) == 4:
            by_section[section].append(Package(*words))
        else:
            raise InputError(
                f"{line!r} is not a line of a lock", where=f"{lock}:{number}",
                allowed=f"name, version, architecture and SHA-256, below {', '.join(f'[{each}]' for each in SECTIONS)}",
                next_command="./lab lock renew",
            )  # fmt: skip
    return {name: tuple(packages) for name, packages in by_section.items()}


def write(sections: Mapping[str, Iterable[Package]], time: str, lock: Path | None = None) -> None:
    """The lock anew. `time` is when it was settled, as snapshots name times: 20300101T000000Z."""
    lines = ["# Debian packages by name, version, architecture and SHA-256; ./lab lock renew writes this.",
             f"# resolved at {time}"]  # fmt: skip
    for name, what in SECTIONS.items():
        lines += ["", f"# {what}", f"[{name}]", *map(str, sorted(sections.get(name, ())))]
    (lock or LOCK).write_text("\n".join(lines) + "\n")


def locked(*sections: str) -> tuple[Package, ...]:
    """What the lock names in these sections."""
    lock = read()
    return tuple(sorted(package for section in sections for package in lock[section]))


def differences(before: Iterable[Package], now: Iterable[Package]) -> tuple[str, ...]:
    """What is not the same, a package a line."""
    then, after = ({package.name: package for package in each} for each in (before, now))
    lines = []
    for name in sorted(then.keys() | after.keys()):
        one, other = then.get(name), after.get(name)
        if one is None or other is None:
            lines.append(f"{name} {(one or other).version}: {'new' if one is None else 'gone'}")  # type: ignore[union-attr]
        elif one.version != other.version:
            lines.append(f"{name} {one.version} → {other.version}")
        elif one != other:
            lines.append(f"{name} {one.version}: another file of the same version")
    return tuple(lines)


def abridged(lines: Sequence[str]) -> str:
    """The first few of them, and how many more."""
    more = len(lines) - SHOWN
    return "; ".join(lines[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


class Archive:
    """apt over lists of our own. Use it through `opened`."""

    def __init__(self, state: Path, suite: str = SUITE) -> None:
        self.state, self.files = state, state / "archives"
        self.suite, self._suites = suite, tuple(each.format(suite) for each in SUITES)
        self._asked = False

    def ask(self, snapshot: str = "", *, strict: bool = False) -> None:
        """Read the package lists: of the mirror, and of a snapshot of the time of the lock.

        Lists that were read before serve where these cannot be, but for `strict`: EnvironmentFailure then.
        """
        lines = mirrors.source_lines(*self._suites)
        if snapshot:
            lines += mirrors.snapshot_lines(snapshot, _resolved_at(), self._suites)
        (self.state / "sources.list").write_text("".join(f"{line}\n" for line in lines))
        self._asked = True
        try:
            output = run([*self._apt("apt-get"), "update"], what=f"reading the package lists of {self.suite}", tries=3)
        except EnvironmentFailure as error:
            if strict:
                raise
            say(f"{error.problem}\ncontinuing with the package lists read before")
            return
        for line in output.splitlines():
            if line.startswith("W: Failed to fetch"):
                say(line.removeprefix("W: "))

    def offered(self, names: Iterable[str]) -> set[Package]:
        """Every version of these packages that the lists have."""
        wanted = sorted(set(names))
        if not wanted:
            return set()
        if not self._asked:
            self.ask()
        listed = run([*self._apt("apt-cache"), "show", *wanted], what="apt-cache show", allowed=(0, 100))
        packages = set()
        for stanza in listed.split("\n\n"):
            fields = dict(re.findall(r"^(Package|Version|Architecture|SHA256): (\S+)$", stanza, re.MULTILINE))
            if len(fields) == 4:
                packages.add(Package(fields["Package"], fields["Version"], fields["Architecture"], fields["SHA256"]))
        return packages

    def newest(self, name: str) -> Package:
        """The version of a package that apt would take. Raises EnvironmentFailure when there is none."""
        packages = [one for one in self.solved((name,)) if one.name == name]
        if not packages:
            raise EnvironmentFailure(f"the mirror has no package {name}", next_command="sudo apt-get update")
        return packages[0]

    def named(self, pattern: str) -> list[str]:
        """The packages whose names match a regular expression."""
        if not self._asked:
            self.ask()
        listed = run([*self._apt("apt-cache"), "search", "--names-only", pattern], what="apt-cache search")
        return [line.split()[0] for line in listed.splitlines() if line.strip()]

    def solved(self, names: Sequence[str], prefer: Iterable[Package] = ()) -> tuple[Package, ...]:
        """These packages (apt's words for them) with all that they depend on, in the preferred versions if there are.

        Raises EnvironmentFailure with what apt says when they cannot be installed together.
        """
        if not self._asked:
            self.ask()
        pins = self.state / "preferences"
        pins.write_text(
            "\n".join(f"Package: {one.name}\nPin: version {one.version}\nPin-Priority: 1001\n" for one in prefer)
        )
        nothing = self.state / "nothing"  # apt does not name what it finds fetched
        (nothing / "partial").mkdir(parents=True, exist_ok=True)
        words = ["-y", "--no-install-recommends", "-o", "Acquire::ForceHash=SHA256", "--print-uris", "install", *names]
        listed = run(
            [*self._apt("apt-get"), "-o", f"Dir::Cache::Archives={nothing}", *words],
            what="settling the versions of Debian packages",
        )
        listed_packages = re.findall(r"^'[^']*' (\S+)_(\S+)_(\w+)\.deb \d+ SHA256:(\w+)", listed, re.MULTILINE)
        return tuple(
            sorted(Package(name, re.sub("%3a", ":", version), *rest) for name, version, *rest in listed_packages)
        )

    def missing(self, packages: Iterable[Package]) -> list[Package]:
        """Those whose files are not here, whole."""
        return [one for one in packages if not _is(self.files / one.file, one.sha256)]

    def fetch(self, packages: Sequence[Package]) -> list[Path]:
        """Their files, every one with the hash that it is to have. Raises EnvironmentFailure for what cannot be had."""
        if missing := self.missing(packages):
            if not self._asked:
                self.ask()
            with step(f"fetching {missing[0].name if len(missing) == 1 else f'{len(missing)} Debian packages'}"):
                run(
                    [*self._apt("apt-get"), "download", *(f"{one.name}={one.version}" for one in missing)],
                    cwd=self.files, what="fetching Debian packages", tries=3,
                )  # fmt: skip
            if wrong := self.missing(missing):
                raise EnvironmentFailure(
                    f"the mirror gave other files than it lists: {abridged([one.file for one in wrong])}",
                    where=str(self.files), next_command="sudo apt-get update; ./lab setup",
                )  # fmt: skip
        return [self.files / one.file for one in packages]

    def obtainable(self, wanted: Sequence[Package]) -> list[Package]:
        """Those that were fetched before, or that the mirror or else the snapshot has, with the very same file."""
        absent = set(self.missing(wanted))
        if absent:
            absent -= self.offered(one.name for one in absent)
        if absent and (snapshot := os.environ.get(SNAPSHOT)):
            say(f"the mirror no longer has {abridged([one.name for one in sorted(absent)])}; asking {snapshot}")
            self.ask(snapshot)
            absent -= self.offered(one.name for one in absent)
        return [one for one in wanted if one not in absent]

    def resolve(self, what: str, wanted: Sequence[Package], names: Sequence[str]) -> Resolved:
        """The locked packages where all can be had, else the newest of `names` with as many of them as go together.

        Raises EnvironmentFailure when the mirror does not have what `names` need.
        """
        kept = self.obtainable(wanted)
        if kept and len(kept) == len(wanted):
            return Resolved(tuple(wanted))
        try:
            packages = self.solved(names, kept)
        except EnvironmentFailure:
            if not kept:
                raise
            packages = self.solved(names)
        changed = differences(wanted, packages) if wanted else ()
        if changed:
            differ = " Records will differ from those of the locked one;" if what == SECTIONS["guest"] else ""
            say(
                f"{what} is not the locked one, since the mirror no longer has all of it: "
                f"{abridged(changed)}.{differ} {SNAPSHOT}=URL names a snapshot service that has it"
            )
        return Resolved(packages, changed)

    def _apt(self, program: str) -> list[str]:
        state = self.state
        preferences = state / "preferences"
        return [
            program, *APT_OPTIONS,
            "-o", f"Dir::Etc::SourceList={state}/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null",
            "-o", f"Dir::Etc::Preferences={preferences}", "-o", "Dir::Etc::PreferencesParts=/dev/null",
            "-o", f"Dir::State::Lists={state}/lists", "-o", f"Dir::Cache={state}", "-o", "Dir::State::status=/dev/null",
            "-o", "APT::Sandbox::User=",
        ]  # fmt: skip


@contextmanager
def opened(suite: str = SUITE) -> Iterator[Archive]:
    """The archive of a release, for this process alone while the context lasts. What was fetched stays in the cache."""
    name = FOLDER if suite == SUITE else f"{FOLDER}-{suite}"
    with held(name, "another process fetches Debian packages"):
        state = cache_dir() / name
        claim(state, str(state))
        for part in (state / "lists" / "partial", state / "archives" / "partial"):
            part.mkdir(parents=True, exist_ok=True)
        (state / "preferences").write_text("")
        yield Archive(state, suite)


def repository(files: Iterable[Path], folder: Path, suite: str) -> str:
    """Lay the files out as a repository of their own in `folder`, of the release `suite`; apt's source line for it."""
    folder.mkdir(parents=True, exist_ok=True)
    stanzas = []
    for file in files:
        try:
            os.link(file, folder / file.name)
        except OSError:  # another file system
            shutil.copyfile(file, folder / file.name)
        control = run(["dpkg-deb", "-f", file], what=f"reading {file.name}").rstrip()
        stanzas.append(f"{control}\nFilename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {sha256(file)}\n")
    index = folder / "Packages"
    index.write_text("\n".join(stanzas))
    # mmdebstrap takes the essential packages of the release of this name.
    (folder / "Release").write_text(
        f"Suite: {suite}\nCodename: {suite}\nSHA256:\n {sha256(index)} {index.stat().st_size} Packages\n"
    )
    return f"deb [trusted=yes] copy:{folder} ./"


def _resolved_at() -> str:
    """When the lock was settled; the far future, where it does not say."""
    match = _TIME.search(LOCK.read_text()) if LOCK.exists() else None
    return match[1] if match else "99990101T000000Z"


def _is(path: Path, wanted: str) -> bool:
    return path.is_file() and sha256(path) == wanted


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
