"""What packages are made of: the checkout as it is, or one of its commits, with its version and its time."""

from __future__ import annotations

import os
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import InputError
from testbed.setup import history
from testbed.setup.paths import PROJECT

EPOCH = "SOURCE_DATE_EPOCH"
"""Names the environment's word for the time that all files of a package have: https://reproducible-builds.org."""


@dataclass(frozen=True)
class Source:
    """`folder` has agents/, packaging/, pyproject.toml and locks/. `release`: of pyproject.toml. `commit`: short, with
    "-dirty" where files were changed after it; empty without git. `epoch_s`: Unix time of the commit."""

    folder: Path
    release: str
    commit: str
    epoch_s: int
    tagged: bool

    @property
    def version(self) -> str:
        """As Debian orders versions: a commit before the tag is older than the tag, and newer than commits before."""
        if self.tagged or not self.commit:
            return self.release
        moment = time.strftime("%Y%m%d%H%M%S", time.gmtime(self.epoch_s))
        return f"{self.release}~git{moment}.{self.commit.replace('-', '+')}"

    @property
    def date(self) -> time.struct_time:
        """Of the commit, UTC."""
        return time.gmtime(self.epoch_s)


@contextmanager
def source(commit: str | None = None) -> Iterator[Source]:
    """The checkout as it is, or this commit of it for as long as the context lasts. InputError."""
    if commit is None:
        yield _described(PROJECT, "HEAD", changed=True)
        return
    named = full(commit)
    with tempfile.TemporaryDirectory(prefix="lab-source-") as name:
        folder = Path(name)
        history.unpack(named, folder)
        yield _described(folder, named, changed=False)


def full(commit: str) -> str:
    """The commit's whole name. InputError where there is none."""
    commit_found = history.full(commit)
    if not commit_found:
        raise InputError(
            f"no commit {commit!r}", where="--commit", allowed="a commit or tag of this checkout",
            next_command="git log --oneline",
        )  # fmt: skip
    return commit_found


def _described(folder: Path, commit: str, *, changed: bool) -> Source:
    release = str(tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"])
    known = history.git("log", "-1", "--format=%h %ct", commit)
    short, moment = known.split() if known else ("", str(int((folder / "pyproject.toml").stat().st_mtime)))
    if changed and short and history.git("status", "--porcelain", "--untracked-files=no"):
        short += "-dirty"
    tags = (history.git("tag", "--points-at", commit) or "").split() if short and not short.endswith("-dirty") else []
    return Source(folder, release, short, int(os.environ.get(EPOCH) or moment), f"v{release}" in tags)
