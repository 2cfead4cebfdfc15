"""The errors of this package. Knows nothing of who shows them."""

from __future__ import annotations


class PolicyError(Exception):
    """A policy, a signed object or a domain that is not as it must be; the text names what and where."""


class NothingToDo(PolicyError):
    """What is asked for is so already; the text says what."""
