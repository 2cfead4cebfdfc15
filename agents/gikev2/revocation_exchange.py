"""How a revocation list spreads: two parties show which one they have, and the older list is replaced by the newer.

POLICY_SUMMARY goes both ways in every GSA_AUTH; REVOCATION goes to whoever showed an older version, in an
INFORMATIONAL exchange: never beside keys or a policy document, with which it might not fit into one message. Private
notifications of ours, RFC 9838 knows nothing like it. Knows nothing of what a list does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

from agents.gikev2 import notifies
from agents.ikev2 import FailureReason, IkeEndpoint, MalformedMessage, Payload, Request, SaHandle, UnknownSa
from agents.ikev2.registry import ExchangeType


class ListHolder(Protocol):
    """Whoever keeps a revocation list and acts on it."""

    @property
    def version(self) -> int:
        """Of the list; 0 without one."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the list's octets."""

    @property
    def signed(self) -> bytes | None:
        """The list's octets."""

    @property
    def policy_version(self) -> int:
        """Of the policy document that is acted on; 0 for a party without one."""

    def offer(self, signed: bytes, source: str, now: float) -> None:
        """Take this list if it is newer and rightly signed; whatever is wrong with it is for the record."""

    def doubt(self, source: str, what: str) -> None:
        """Put on record that something about this peer's lists is wrong."""


class SendRevocations(Request):
    """Our list, to a peer that showed an older one. Its answer shows what the peer has now."""

    def __init__(self, spread: Spread, peer: str, version: int) -> None:
        self._spread, self._peer, self._version = spread, peer, version

    def payloads(self) -> Sequence[Payload] | None:
        newest = self._version == self._spread.holder.version
        return self._spread.with_list() if newest else None

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        self._spread.heard(payloads, self._peer, now)

    def failed(self, reason: FailureReason, now: float) -> None:
        """Over the next IKE SA it is tried again."""
        self._spread.trying.pop(self._peer, None)


class Spread:
    """The lists of one endpoint's peers, as far as they have shown them. Peers are known by authenticated names."""

    def __init__(self, endpoint: IkeEndpoint, holder: ListHolder) -> None:
        self._endpoint, self.holder = endpoint, holder
        self._shown: dict[str, int] = {}
        self.trying: dict[str, int] = {}

    def shown_by(self, peer: str) -> int:
        """Version of the newest list that this peer has shown; 0 for none."""
        return self._shown.get(peer, 0)

    def hello(self) -> list[Payload]:
        """What a request of GSA_AUTH says of us."""
        holder = self.holder
        return [notifies.policy_summary(notifies.PolicySummary(holder.policy_version, holder.version, holder.digest))]

    def with_list(self) -> list[Payload]:
        """The same, and our list."""
        return [*self.hello(), *([] if self.holder.signed is None else [notifies.revocation(self.holder.signed)])]

    def heard(self, payloads: Sequence[Payload], peer: str, now: float) -> None:
        """Read what a peer shows and take what it brings."""
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
        """What the answer to a registration says of us. Our list follows by itself, in a message of its own."""
        self.heard(payloads, peer, now)
        return self.hello()

    def answer(self, payloads: Sequence[Payload], peer: str, now: float) -> list[Payload]:
        """What the answer to these payloads says of us, with our list if the peer's is older and no document is asked
        for, which may be as large."""
        self.heard(payloads, peer, now)
        older = self._shown.get(peer, 0) < self.holder.version
        return self.with_list() if older and not notifies.asks_for_document(payloads) else self.hello()

    def push(self, sa: SaHandle, peer: str, now: float) -> None:
        """Send our list to a peer that showed an older one, unless it is on its way."""
        version = self.holder.version
        if not version or self._shown.get(peer, version) >= version or self.trying.get(peer) == version:
            return
        with contextlib.suppress(UnknownSa):
            self._endpoint.request(sa, ExchangeType.INFORMATIONAL, SendRevocations(self, peer, version), now)
            self.trying[peer] = version

    def forget(self, peer: str) -> None:
        """Over a new IKE SA the peer shows anew what it has."""
        self._shown.pop(peer, None)
        self.trying.pop(peer, None)
