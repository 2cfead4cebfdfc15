"""The errors above the codec. Malformed octets raise MalformedMessage of agents.ikev2."""

from __future__ import annotations

from agents.ikev2 import IkeError


class UnusableGroup(IkeError):
    """Well-formed, but not a usable group: a missing key, an unknown suite, a wrong speaker."""


class GroupRefused(IkeError):
    """The key server's answer is an error notification; `notify` is its type."""

    def __init__(self, notify: int) -> None:
        super().__init__(f"the key server refused: notification {notify}")
        self.notify = notify
