"""Flaws: the missing, damaged or changed parts of a folder, gathered while the rest is used.

A flaw is the error that the part would have raised. Knows nothing of the parts.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import InputError, LabError

SHOWN = 8


@contextmanager
def tried(what: str, flaws: list[InputError], folder: Path | None = None) -> Iterator[None]:
    """An exception within the block becomes a flaw and goes no further: the rest is worth having."""
    where = None if folder is None else str(folder)
    try:
        yield
    except LabError as error:
        flaw = InputError(
            f"{what}: {error.problem}", where=error.where or where, allowed=error.allowed,
            next_command=error.next_command,
        )  # fmt: skip
        flaw.exit_code = error.exit_code
        flaws.append(flaw)
    except Exception as error:  # a record with invalid events may raise anything anywhere
        flaws.append(InputError(f"{what}: {said(error)}", where=where))


def said(error: Exception) -> str:
    """The text of an unexpected exception, and the line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"


def lines_of(flaws: Sequence[InputError], folder: Path) -> list[str]:
    """A line for each, with its place relative to the folder."""
    lines = [f"{each.where}: {each.problem}".removeprefix(f"{folder}/") for each in flaws]
    return list(dict.fromkeys(lines))


def listed(flaws: Sequence[InputError]) -> str:
    """The first of them for an error's text, each on a line of its own."""
    lines = [f"\n  {each.where}: {each.problem}" for each in flaws[:SHOWN]]
    return "".join(lines) + (f"\n  and {len(flaws) - SHOWN} more" if len(flaws) > SHOWN else "")
