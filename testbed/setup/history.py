"""Commits of this checkout, for whoever needs the code of one. Knows nothing of what is in them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from testbed.setup.command import run
from testbed.setup.paths import PROJECT

TIMEOUT_S = 30


def git(*words: str) -> str | None:
    """What git says of the checkout; None where it does not know, or is not there."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(PROJECT), *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None


def full(commit: str) -> str | None:
    """The whole name of a commit or tag whose files are here; None where it is not in this checkout."""
    return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")


def unpack(commit: str, folder: Path, *paths: str) -> None:
    """Write the files of a commit, or those below `paths` alone, into `folder`. EnvironmentFailure when git cannot."""
    packed = folder / "commit.tar"
    run(["git", "-C", PROJECT, "archive", "-o", packed, commit, *paths], what="git archive")
    run(["tar", "-xf", packed, "-C", folder], what="unpacking the commit")
    packed.unlink()
