"""The few errors that this package raises. Knows nothing of who catches them."""

from __future__ import annotations


class IkeError(Exception):
    """Base of all errors raised by agents.ikev2."""


class MalformedMessage(IkeError):
    """Octets that are no valid message, payload or structure; the only error a parser raises."""


class UnsupportedCriticalPayload(MalformedMessage):
    """An unknown payload with the critical bit set (RFC 7296 §2.5)."""

    def __init__(self, payload_type: int) -> None:
        super().__init__(f"payload type {payload_type} is critical and unknown")
        self.payload_type = payload_type


class IntegrityFailure(IkeError):
    """The ICV is wrong, or there is none: the message is to be dropped without an answer."""


class MessageTooLong(IkeError):
    """A message of ours that no number of fragments may carry. Nothing of it was sent."""


class UnsupportedAlgorithm(IkeError):
    """A transform, key or signature algorithm that this package does not implement."""


class UnknownSa(IkeError):
    """A command named an IKE SA or a token that is closed or was never given out."""
