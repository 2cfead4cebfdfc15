"""The agents of the release before this one, for domains in which routers run both: from the checkout's history.

It knows nothing of what is done with them.
"""

from __future__ import annotations

import re
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.setup import history
from testbed.setup.artefact import Artefact
from testbed.setup.paths import PROJECT

CHANGES = PROJECT / "CHANGELOG.md"
FOLDER = "previous"
"""Where a guest has them, of testbed.guest.process1.FOLDERS."""
_RELEASE = re.compile(r"^## (?P<version>\d+\.\d+\.\d+)\n(?:Commit `(?P<commit>[0-9a-f]{40})`\.)?", re.MULTILINE)


def commit() -> str:
    """The commit that the change log names for the newest release that has one."""
    commits = [each["commit"] for each in _RELEASE.finditer(CHANGES.read_text()) if each["commit"]]
    if not commits:
        raise EnvironmentFailure("the change log names no commit of an earlier release", where=str(CHANGES))
    return commits[0]


def release() -> Artefact:
    """The folder that has its package `agents`. Making it raises EnvironmentFailure where the history is not here."""
    named = commit()
    return Artefact("previous-release", named[:12], lambda folder: _build(folder, named), space_mib=20, announced=False)


def missing() -> str | None:
    """Why the release cannot be had, in words; None when it can."""
    if release().ready:
        return None
    return None if history.full(commit()) else f"commit {commit()[:12]} is not in this checkout"


def _build(folder: Path, named: str) -> None:
    if (why := missing()) is not None:
        raise EnvironmentFailure(
            f"the previous release is not available: {why}", where=str(PROJECT), allowed="a clone with its history",
            next_command="git fetch --unshallow",
        )  # fmt: skip
    history.unpack(named, folder, "agents")
