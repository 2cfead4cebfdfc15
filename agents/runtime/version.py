"""`--version`: the release, and the commit where the program runs from a checkout. Knows no program."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents import __version__

_CHECKOUT = Path(__file__).parents[2]
_BUILT = Path(__file__).parents[1] / "COMMIT"
"""The commit, as the packages' build writes it."""


def version() -> str:
    """Such as `0.1.0 (commit 9b17bb8)`; without a commit where neither a checkout nor a package names one."""
    if not (_CHECKOUT / ".git").exists():
        return f"{__version__} (commit {_BUILT.read_text().strip()})" if _BUILT.exists() else __version__
    asked = ["git", "-C", str(_CHECKOUT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        description = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__} (commit {description})"


class Version(argparse.Action):
    """Print the program's name and version, and end with 0."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_others: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print version and commit")

    def __call__(self, parser: argparse.ArgumentParser, *_others: Any) -> None:
        print(f"{parser.prog} {version()}")
        parser.exit()
