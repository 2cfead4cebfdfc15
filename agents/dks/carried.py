"""The policy documents of other routers that the DKS gives a router: those that it must carry, and that the DKS could
not deliver.

A router behind a cut is behind routers that are near to it: these get its document from the DKS, and give it to the
router when they meet. A document that its router already has is not announced: routers have those from each other.
Knows nothing of messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agents.dks.documents import Documents
from agents.gikev2.notifies import MAX_HELD, Held, WantedDocument
from agents.ikev2 import SaHandle
from agents.runtime.effects import Event
from agents.runtime.pace import TokenBucket


class Carried:
    """As DocumentHolder. `connected`: the routers at their control groups; `bucket`: bounds what the DKS gives in a
    second."""

    def __init__(
        self,
        documents: Documents,
        connected: Mapping[str, SaHandle],
        bucket: TokenBucket,
        event: Callable[[Event], None],
    ) -> None:
        self._documents, self._connected, self._bucket, self._event = documents, connected, bucket, event
        self._brought: dict[str, int] = {}
        """The version that each router has had from us."""
        self._carriers: dict[str, set[str]] = {}
        self._of = -1
        self.asked_for: set[str] = set()

    def brought(self, router: str, version: int) -> None:
        """The router has its document of this version."""
        self._brought[router] = max(version, self._brought.get(router, 0))

    def lacks(self, router: str) -> bool:
        """True if the router has a document that we could not deliver."""
        document = self._documents.of(router)
        return document is not None and document.version > self._brought.get(router, 0)

    def carriers(self, router: str) -> list[str]:
        """The connected routers that carry this one's document."""
        if self._of != self._documents.changes:
            self._of = self._documents.changes
            self._carriers = {}
            for name in self._documents.routers():
                for other in self._list(name):
                    self._carriers.setdefault(other, set()).add(name)
        return sorted(each for each in self._carriers.get(router, ()) if each in self._connected)

    def _list(self, router: str) -> Sequence[str]:
        document = self._documents.of(router)
        return document.carried if document is not None and document.local_key_server else ()

    # -- for the courier -------------------------------------------------------------------------------

    def held(self, peer: str) -> Sequence[Held]:
        """As DocumentHolder.held."""
        offers = ((each, self._documents.of(each)) for each in self._list(peer) if self.lacks(each))
        return [Held(name, document.version) for name, document in offers if document is not None][:MAX_HELD]

    def given(self, wanted: WantedDocument, peer: str, now: float) -> bytes | int | None:
        """As DocumentHolder.given."""
        document = self._documents.of(wanted.router)
        if document is None or document.version <= wanted.above or wanted.router not in self._list(peer):
            return None
        if not self._bucket.take(now):
            return self._bucket.wait_s(now)
        self._event(Event("carried", {"router": wanted.router, "version": document.version, "peer": peer}))
        return self._documents.signed(wanted.router)

    def wants(self, entry: Held) -> bool:
        """As DocumentHolder.wants: the Policy Server gives us ours."""
        return False

    def version(self, router: str) -> int:
        """As DocumentHolder.version."""
        document = self._documents.of(router)
        return 0 if document is None else document.version

    def held_by_peer(self, entry: Held, now: float) -> None:
        """As DocumentHolder.held_by_peer."""

    def offer(self, signed: bytes, asked: Held, source: str, now: float) -> None:
        """As DocumentHolder.offer: nothing was asked for."""

    def missed(self, asked: Held, source: str, now: float) -> None:
        """As DocumentHolder.missed."""

    def doubt(self, source: str, what: str) -> None:
        """As DocumentHolder.doubt."""
        self._event(Event("error", {"what": "documents", "peer": source, "detail": what}))
