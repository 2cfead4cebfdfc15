"""The errors of this package. Knows nothing of who shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agents.runtime.storage import CorruptRecord


class PolicyError(Exception):
    """An invalid policy, signed object or domain; the text names what and where."""


class MissingStore(PolicyError):
    """The folder holds no policy store: it is another folder, or the store was never made."""


class UnusableStore(PolicyError):
    """The folder holds a policy store that this release cannot read: it is damaged, or of another format."""


@dataclass(frozen=True, slots=True)
class Parts:
    """An error's text in parts. `problems`: one sentence each, if the text lists several."""

    problem: str
    allowed: str | None = None
    next_command: str | None = None
    problems: tuple[str, ...] = ()


def parts(text: str) -> Parts:
    """The parts of an error's text, which a command line prints a line each."""
    first, *more = text.splitlines() or [""]
    said = {"  allowed:": "", "  next:": ""}
    problems = []
    for line in more:
        mark = next((each for each in said if line.startswith(each)), None)
        if mark is None:
            problems.append(line.strip().removeprefix("- "))
        else:
            said[mark] = line.removeprefix(mark).strip()
    allowed, command = said.values()
    return Parts(first.removesuffix(":") if problems else first, allowed or None, command or None, tuple(problems))


class NothingToDo(PolicyError):
    """The request changes nothing; the text says why."""


@contextmanager
def in_file(name: str) -> Iterator[None]:
    """Errors in the block are about this file: PolicyError and CorruptRecord name it."""
    try:
        yield
    except PolicyError as error:
        raise PolicyError(f"{name}: {error}") from error
    except CorruptRecord as error:
        raise CorruptRecord(f"{name}: {error}") from error
