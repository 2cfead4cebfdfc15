"""The experiments that are played in guests, and so have a plan for each network or refuse it."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.runner.experiment import Experiment, find, names


def in_guests() -> Iterator[Experiment]:
    """All of them, by name."""
    for name in names():
        found = find(name)
        if isinstance(found, Experiment):
            yield found
