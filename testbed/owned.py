"""Names that become part of a path, and folders that may be removed.

`plain_name` is the one check of a name, by the agents' own rule; `claim` makes a folder and marks it as the
laboratory's own; `remove` removes only a folder with the mark; `fresh` does both. Standard library only: both sides of
a guest use it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from agents.policy.names import ROUTER_PATTERN
from testbed.errors import InputError

MARK = ".router-keys"
"""The file that marks a folder as made by the laboratory, which may remove it."""
NAME_PATTERN = ROUTER_PATTERN
_NAME = re.compile(NAME_PATTERN + r"\Z")
NAME_RULE = "1 to 63 letters, digits, '.', '_' and '-', a letter or digit first"


def plain_name(name: str, where: str) -> str:
    """The name itself. InputError when it could be more than one part of a path."""
    if not _NAME.match(name) or not name.isascii():
        text = repr(name if len(name) <= 80 else name[:77] + "...")
        raise InputError(f"{text} cannot be a name", where=where, allowed=NAME_RULE)
    return name


def is_own(folder: Path) -> bool:
    """True for a folder with the mark that is not a link."""
    return not folder.is_symlink() and folder.is_dir() and (folder / MARK).is_file()


def free(folder: Path, where: str) -> None:
    """InputError when files are there that are not ours."""
    if folder.is_symlink() or (folder.exists() and not is_own(folder) and not _is_empty(folder)):
        raise InputError(
            "the folder holds files that the laboratory did not make", where=where, allowed="a new or an empty folder"
        )


def claim(folder: Path, where: str) -> None:
    """Make the folder and mark it, or use an empty or marked one.

    InputError when other files are there; then nothing has changed.
    """
    free(folder, where)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()


def remove(folder: Path) -> bool:
    """Remove a folder with the mark, mark last; False without the mark, and then nothing is removed."""
    if not is_own(folder):
        return False
    for entry in folder.iterdir():
        if entry.name == MARK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return True


def fresh(folder: Path, where: str) -> None:
    """An empty folder with the mark, whatever of ours was there. InputError when other files are there."""
    remove(folder)
    claim(folder, where)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and next(folder.iterdir(), None) is None
