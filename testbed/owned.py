"""Names that become part of a path, and folders that may be removed.

`plain_name` is the one check of a name, by the agents' own rule; `claim` makes a folder and marks it as the
laboratory's own; `remove` removes a folder that bears the mark, and no other; `fresh` does both. Standard library only:
both sides of a guest use it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from agents.policy.names import ROUTER_PATTERN
from testbed.errors import InputError

MARK = ".router-keys"
"""The file in a folder that says that the laboratory made it and may remove it."""
NAME_PATTERN = ROUTER_PATTERN
_NAME = re.compile(NAME_PATTERN + r"\Z")
NAME_RULE = "1 to 63 letters, digits, '.', '_' and '-', a letter or digit first"


def plain_name(name: str, where: str) -> str:
    """The name itself. InputError when it could be anything but one part of a path."""
    if not _NAME.match(name) or not name.isascii():
        text = repr(name if len(name) <= 80 else name[:77] + "...")
        raise InputError(f"{text} cannot be a name", where=where, allowed=NAME_RULE)
    return name


def is_own(folder: Path) -> bool:
    """Whether this is a folder, no link to one, that bears the mark."""
    return not folder.is_symlink() and folder.is_dir() and (folder / MARK).is_file()


def free(folder: Path, where: str) -> None:
    """InputError when something that is not ours is there."""
    if folder.is_symlink() or (folder.exists() and not is_own(folder) and not _is_empty(folder)):
        raise InputError(
            "the folder holds files that the laboratory did not make", where=where, allowed="a new or an empty folder"
        )


def claim(folder: Path, where: str) -> None:
    """Make the folder and mark it, or take an empty one or one that bears the mark already.

    InputError when something else is there; then nothing has changed.
    """
    free(folder, where)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()


def remove(folder: Path) -> bool:
    """Remove a folder that bears the mark, mark last; False when it does not, and then nothing is removed."""
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
    """An empty folder that bears the mark, whatever of ours was there. InputError when something else is."""
    remove(folder)
    claim(folder, where)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and next(folder.iterdir(), None) is None
