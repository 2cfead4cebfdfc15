"""The propagation of a revocation list: two parties announce their versions, and the newer list replaces the older.

POLICY_SUMMARY goes both ways in every GSA_AUTH. REVOCATION goes to a peer that announced an older version, in an
INFORMATIONAL exchange of its own: together with keys or a policy document it might not fit into one message. The
notifications are private; RFC 9838 has no equivalent. Knows nothing of a list's effects.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

from agents.gikev2 import notifies
from agents.ikev2 import FailureReason, IkeEndpoint, MalformedMessage, Payload, Request, SaHandle, UnknownSa
from agents.ikev2.registry import ExchangeType


class ListHolder(Protocol):
    """A party that keeps a revocation list and acts on it."""

    @property
    def version(self) -> int:
        """The version of the list; 0 without one."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the list's octets."""

    @property
    def signed(self) -> bytes | None:
        """The list's octets."""

    @property
    def policy_version(self) -> int:
        """The version of the policy document in force; 0 for a party without one."""

    def offer(self, signed: bytes, source: str, now: float) -> None:
        """Accept this list if it is newer and correctly signed; record any error."""

    def doubt(self, source: str, what: str) -> None:
        """Record an error of this peer's lists."""


class SendRevocations(Request):
    """Sends our list to a peer that announced an older one. Its answer holds the version that the peer has then."""

    def __init__(self, spread: Spread, peer: str, version: int) -> None:
        self._spread, self._peer, self._version = spread, peer, version

    def payloads(self) -> Sequence[Payload] | None:
        newest = self._version == self._spread.holder.version
        return self._spread.with_list() if newest else None

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        self._spread.heard(payloads, self._peer, now)

    def failed(self, reason: FailureReason, now: float) -> None:
        """The list is sent again over the next IKE SA."""
        self._spread.trying.pop(self._peer, None)


class Spread:
    """The announced lists of one endpoint's peers, by authenticated names."""

    def __init__(self, endpoint: IkeEndpoint, holder: ListHolder) -> None:
        self._endpoint, self.holder = endpoint, holder
        self._shown: dict[str, int] = {}
        self.trying: dict[str, int] = {}

    def shown_by(self, peer: str) -> int:
        """The version of the newest list that this peer has announced; 0 for none."""
        return self._shown.get(peer, 0)

    def hello(self) -> list[Payload]:
        """The announcement in a request of GSA_AUTH."""
        holder = self.holder
        return [notifies.policy_summary(notifies.PolicySummary(holder.policy_version, holder.version, holder.digest))]

    def with_list(self) -> list[Payload]:
        """The announcement, and our list."""
        return [*self.hello(), *([] if self.holder.signed is None else [notifies.revocation(self.holder.signed)])]

    def heard(self, payloads: Sequence[Payload], peer: str, now: float) -> None:
        """Read a peer's announcement and accept its list, if any."""
        try:
            signed = notifies.find_revocation(payloads)
            summary = notifies.find_policy_summary(payloads)
        except MalformedMessage as error:
            self.holder.doubt(peer, str(error))
            return
        if signed is not None:
            self.holder.offer(signed, peer, now)
        if summary is not None:
            self._shown[peer] = summary.revocation
            if summary.revocation == self.holder.version and summary.digest != self.holder.digest:
                self.holder.doubt(peer, f"it has another revocation list of version {summary.revocation}")

    def greet(self, payloads: Sequence[Payload], peer: str, now: float) -> list[Payload]:
        """The announcement in the answer to a registration. Our list follows in a message of its own."""
        self.heard(payloads, peer, now)
        return self.hello()

    def answer(self, payloads: Sequence[Payload], peer: str, now: float) -> list[Payload]:
        """The announcement in the answer to these payloads. It includes our list if the peer's is older, unless the
        payloads ask for a document, which may be as long."""
        self.heard(payloads, peer, now)
        older = self._shown.get(peer, 0) < self.holder.version
        return self.with_list() if older and not notifies.asks_for_document(payloads) else self.hello()

    def push(self, sa: SaHandle, peer: str, now: float) -> None:
        """Send our list to a peer that announced an older one, unless it is already on its way."""
        version = self.holder.version
        if not version or self._shown.get(peer, version) >= version or self.trying.get(peer) == version:
            return
        with contextlib.suppress(UnknownSa):
            self._endpoint.request(sa, ExchangeType.INFORMATIONAL, SendRevocations(self, peer, version), now)
            self.trying[peer] = version

    def forget(self, peer: str) -> None:
        """Over a new IKE SA the peer announces its list again."""
        self._shown.pop(peer, None)
        self.trying.pop(peer, None)
