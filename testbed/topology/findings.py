"""What is wrong with a topology, gathered so that a person sees all of it at once. Knows no rules."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from testbed.errors import InputError, InputErrors, Location

Where = Callable[..., Location]


class TopologyErrors(InputErrors):
    """All that is wrong with one topology, in the order of its lines."""

    def __init__(self, errors: list[InputError]) -> None:
        super().__init__(sorted(errors, key=_line_and_column))


def _line_and_column(error: InputError) -> tuple[int, int]:
    where = error.where
    return (where.line or 0, where.column or 0) if isinstance(where, Location) else (0, 0)


@dataclass(frozen=True)
class Caution:
    """What a topology may be meant to do, but what leaves something down."""

    problem: str
    where: Location

    def line(self) -> str:
        """For a person."""
        return f"{self.where}: warning: {self.problem}"


class Findings:
    """Collects errors; `where` turns a path of keys and indices into a place in the file."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self.errors: list[InputError] = []

    def wrong(self, problem: str, *path: Any, allowed: str) -> None:
        """`path` leads to what is wrong."""
        location = self.where(*path)
        again = f"lab validate {location.file}"
        self.errors.append(InputError(problem, where=location, allowed=allowed, next_command=again))

    def line(self, *path: Any) -> str:
        """ " (line 3)" for what stands there, nothing where lines are unknown."""
        line = self.where(*path).line
        return f" (line {line})" if line else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """ "; did you mean 'links'?" when something known looks like the word."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def some(names: Iterable[str], most: int = 8) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
