"""The errors of this package. Knows nothing of who shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agents.runtime.storage import CorruptRecord


class PolicyError(Exception):
    """A policy, a signed object or a domain that is not as it must be; the text names what and where."""


class NothingToDo(PolicyError):
    """What is asked for is so already; the text says what."""


@contextmanager
def in_file(name: str) -> Iterator[None]:
    """What is wrong in the block is wrong with this file: PolicyError and CorruptRecord name it."""
    try:
        yield
    except PolicyError as error:
        raise PolicyError(f"{name}: {error}") from error
    except CorruptRecord as error:
        raise CorruptRecord(f"{name}: {error}") from error
