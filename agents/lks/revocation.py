"""A router's handling of revoked keys: it keeps the newest list, acts without the revoked, and passes the list on.

A list is on the disk before it has any effect. Knows nothing of how lists travel (agents.gikev2.revocation_exchange) or
of how a neighbour is dropped: the router continues under the same document without the revoked neighbours.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.lks.context import Context
from agents.policy.document import PolicyDocument
from agents.policy.errors import PolicyError, in_file
from agents.policy.revocation import FILE, Revocations


class RouterRevocations:
    """The revocation list of one router. `changed`: called when a newer one is kept, to act on it."""

    def __init__(
        self,
        context: Context,
        revocations: Revocations,
        whole: Callable[[], PolicyDocument],
        changed: Callable[[float], None],
    ) -> None:
        """PolicyError when the list is missing, or older than one that was in force. `whole`: the document in force as
        it was signed, with the revoked routers."""
        self._context, self._revocations, self._whole, self._changed = context, revocations, whole, changed
        with in_file(FILE):
            context.retained.acts_on_revocation(revocations.version)

    @property
    def version(self) -> int:
        return self._revocations.version

    @property
    def digest(self) -> bytes:
        return self._revocations.digest

    @property
    def signed(self) -> bytes | None:
        return self._revocations.signed

    @property
    def policy_version(self) -> int:
        return self._context.document.version

    @property
    def alone(self) -> bool:
        """True if no neighbour is accepted any more: our own key is revoked, or our document expired before the list
        begins."""
        whole = self._whole()
        return self._revocations.revokes(whole.identity) or self.outdated

    @property
    def outdated(self) -> bool:
        """True if our document is so old that the list may lack revoked keys that it names."""
        return self._revocations.outdated(self._whole())

    def revokes_router(self, spki: bytes) -> bool:
        """True if this router's key is revoked."""
        return self._revocations.revokes(spki)

    def revokes_administrator(self, spki: bytes) -> bool:
        """True if no new document signed with this key is accepted."""
        return self._revocations.revokes_administrator(spki)

    def effective(self, document: PolicyDocument) -> PolicyDocument:
        """The document without the revoked routers."""
        return self._revocations.without_revoked(document)

    def offer(self, signed: bytes, source: str, now: float) -> None:
        """A list from a neighbour, the DKS, or the administrator of this router."""
        try:
            revoked = self._revocations.take(signed)
        except PolicyError as error:
            self.doubt(source, str(error))
            return
        if revoked is None:
            return
        context = self._context
        context.retained.revocation(signed, revoked.version)
        dropped = sorted(
            {
                neighbor.router
                for interface in self._whole().interfaces
                for neighbor in interface.neighbors
                if self._revocations.revokes(neighbor.key)
            }
        )
        context.event("revocation", version=revoked.version, origin=source, neighbors=dropped, alone=self.alone)
        self._changed(now)

    def doubt(self, source: str, what: str) -> None:
        """As ListHolder.doubt."""
        self._context.event("error", what="revocation", peer=source, detail=what)
