"""A request of the layer above: one object makes its payloads and acts on its answer.

Knows nothing of windows, Message IDs or retransmission.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from agents.ikev2.codec.payloads import Payload


class FailureReason(Enum):
    """The reason why a request has no response."""

    TIMEOUT = "no answer"
    SA_CLOSED = "IKE SA closed"
    NOT_MADE = "the request could not be made"


class Request:
    """The base class: fixed payloads, and no action on the answer."""

    def __init__(self, payloads: Sequence[Payload] = ()) -> None:
        self._payloads = payloads

    def payloads(self) -> Sequence[Payload] | None:
        """The payloads, made when the request is about to be sent: the IKE SA may be rekeyed while the request is
        queued, and has other keys then. None: the request is no longer wanted; nothing is sent and nothing follows."""
        return self._payloads

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        """The answer has come. Called by the consumer of the endpoint's ResponseReceived."""

    def failed(self, reason: FailureReason, now: float) -> None:
        """There will be no answer. Called by the consumer of the endpoint's RequestFailed."""
