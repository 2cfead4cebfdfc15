"""What is said of a record that cannot be read. Knows nothing of what is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import InputError
from testbed.record.flaws import tried


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Whatever a run's damaged files raise within is an InputError with its four parts."""
    flaws: list[InputError] = []
    with tried("the run cannot be shown", flaws, folder):
        yield
    for flaw in flaws:
        flaw.allowed = flaw.allowed or "plan and record as the run wrote them"
        flaw.next_command = flaw.next_command or "the same `lab run` again, which plays a damaged run anew"
        raise flaw
