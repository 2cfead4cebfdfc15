"""A request of the layer above: one object makes its payloads and acts on its answer.

Knows nothing of windows, Message IDs or retransmission.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from agents.ikev2.codec.payloads import Payload


class FailureReason(Enum):
    """Why a request has no response."""

    TIMEOUT = "no answer"
    SA_CLOSED = "IKE SA closed"
    NOT_MADE = "the request could not be made"


class Request:
    """As it is: payloads that are known already, and an answer that nobody waits for."""

    def __init__(self, payloads: Sequence[Payload] = ()) -> None:
        self._payloads = payloads

    def payloads(self) -> Sequence[Payload] | None:
        """Asked for when the request is about to be sent, since the IKE SA may be rekeyed while it waits, and has other
        keys then. None: it is no longer wanted, so nothing is sent and nothing follows."""
        return self._payloads

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        """The answer has come. Called by whoever takes ResponseReceived from the endpoint."""

    def failed(self, reason: FailureReason, now: float) -> None:
        """There will be no answer. Called by whoever takes RequestFailed from the endpoint."""
