"""What can go wrong above the codec. Octets without form raise agents.ikev2's MalformedMessage, as there."""

from __future__ import annotations

from agents.ikev2 import IkeError


class UnusableGroup(IkeError):
    """Well-formed, but not a group that can be used: a missing key, an unknown suite, a wrong speaker."""


class GroupRefused(IkeError):
    """The key server's answer is an error notification; `notify` is its type."""

    def __init__(self, notify: int) -> None:
        super().__init__(f"the key server refused: notification {notify}")
        self.notify = notify
