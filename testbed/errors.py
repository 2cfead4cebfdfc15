"""The laboratory's errors for users, and their exit codes.

A LabError has four parts: the problem, the place (file and line), the allowed values, and the next command. Library
code raises one; only the command line prints it and exits. Knows nothing of the causes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Errors of a file that are the machine's fault, not the request's."""
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Location:
    """A place in a file that a user can open. Lines and columns count from 1."""

    file: str | Path
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [str(self.file)]
        if self.line is not None:
            parts.append(str(self.line))
            if self.column is not None:
                parts.append(str(self.column))
        return ":".join(parts)


class LabError(Exception):
    """An error that a user can correct. `exit_code`: the exit code of the program."""

    exit_code = 1

    def __init__(
        self,
        problem: str,
        *,
        where: Location | str | None = None,
        allowed: str | None = None,
        next_command: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = where
        self.allowed = allowed
        self.next_command = next_command

    def lines(self) -> list[str]:
        """The known parts, one a line, in reading order."""
        head = f"{self.where}: {self.problem}" if self.where is not None else self.problem
        lines = [head]
        if self.allowed:
            lines.append(f"  allowed: {self.allowed}")
        if self.next_command:
            lines.append(f"  next:    {self.next_command}")
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())


class InputError(LabError):
    """Bad input or usage: exit code 2."""

    exit_code = 2


class InputErrors(InputError):
    """All errors of one thing, each reported once, in the order of their discovery."""

    def __init__(self, errors: Iterable[InputError]) -> None:
        """`errors`: at least one; nested ones are flattened."""
        self.errors = list({tuple(each.lines()): each for one in errors for each in parts(one)}.values())
        super().__init__(self.errors[0].problem)

    def lines(self) -> list[str]:
        return [line for error in self.errors for line in error.lines()]


def parts(error: InputError) -> list[InputError]:
    """The single errors of this one."""
    return error.errors if isinstance(error, InputErrors) else [error]


def raise_errors(errors: Iterable[InputError]) -> None:
    """Raise the collected errors: nothing without any, a single error as itself, several as InputErrors."""
    if wrong := list(errors):
        raise InputErrors(wrong) if len(wrong) > 1 else wrong[0]


@contextmanager
def gathered(errors: list[InputError]) -> Iterator[None]:
    """Collect bad input in the block in `found`, to report it with the rest."""
    try:
        yield
    except InputError as error:
        errors.append(error)


class Interrupted(SystemExit):
    """A signal ends the program. No error: code that reports exceptions of others lets it pass."""


class EnvironmentFailure(LabError):
    """This machine cannot do it, or not now: exit code 3."""

    exit_code = 3


def of_file(error: OSError, where: str | Path | None = None, allowed: str | None = None) -> LabError:
    """The error of a file: bad input, with the `allowed` values, unless the machine is at fault."""
    file, problem = str(error.filename or where or "") or None, error.strerror or str(error)
    if error.errno in FULL:
        return EnvironmentFailure(
            f"{problem[0].lower()}{problem[1:]}", where=file, allowed="a disk with free space",
            next_command="df -h; with free space, the same command again: finished runs are kept",
        )  # fmt: skip
    if error.errno in MACHINE:
        return EnvironmentFailure(problem, where=file)
    return InputError(problem, where=file, allowed=allowed)
