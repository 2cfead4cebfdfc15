"""The errors that this package raises. Knows nothing of their handlers."""

from __future__ import annotations


class IkeError(Exception):
    """Base of all errors raised by agents.ikev2."""


class MalformedMessage(IkeError):
    """The octets are not a valid message, payload or structure; the only error that a parser raises."""


class UnsupportedCriticalPayload(MalformedMessage):
    """An unknown payload with the critical bit set (RFC 7296 §2.5)."""

    def __init__(self, payload_type: int) -> None:
        super().__init__(f"payload type {payload_type} is critical and unknown")
        self.payload_type = payload_type


class IntegrityFailure(IkeError):
    """The ICV is wrong or missing: the message must be dropped without an answer."""


class MessageTooLong(IkeError):
    """A message of ours does not fit any number of fragments. Nothing was sent."""


class UnsupportedAlgorithm(IkeError):
    """A transform, key or signature algorithm that this package does not implement."""


class UnknownSa(IkeError):
    """A command named an IKE SA or a token that is closed or never existed."""
