"""The one error of this package. Knows nothing of who shows it."""

from __future__ import annotations


class PolicyError(Exception):
    """A policy, a signed object or a domain that is not as it must be; the text names what and where."""
