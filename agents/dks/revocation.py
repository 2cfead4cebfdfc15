"""The DKS's handling of revoked keys: it keeps the newest list, rejects the revoked, and passes the list on.

A list is written to the ledger, synced, before it takes effect. When the ledger refuses it, the list is in force all
the same, since it only removes rights, and the write is tried again. It comes from the documents' folder, or from a
router that had it from a neighbour while the DKS was away. Knows nothing of files or of group keys.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from agents.dks.documents import Documents
from agents.dks.store import GenerationLedger
from agents.policy.errors import PolicyError, in_file
from agents.policy.revocation import FILE
from agents.runtime.effects import Event


class DksRevocations:
    """The revocation list of the DKS. `changed`: called when a newer one is in force."""

    policy_version = 0

    def __init__(
        self,
        documents: Documents,
        ledger: GenerationLedger,
        event: Callable[[Event], None],
        changed: Callable[[float], None],
    ) -> None:
        """Takes the list that the ledger has; PolicyError when that is not a signed list of this domain."""
        self._documents, self._ledger, self._event, self._changed = documents, ledger, event, changed
        self._rejected: dict[str, bytes] = {}  # by the place of the list
        self._unkept = False
        """True if the list in force is not in the ledger yet."""
        kept = ledger.revocation()
        if kept is not None:
            with in_file(f"{ledger.path}, the revocation list"):
                documents.revocations.take(kept)
            documents.drop_revoked()

    @property
    def version(self) -> int:
        return self._documents.revocations.version

    @property
    def digest(self) -> bytes:
        return self._documents.revocations.digest

    @property
    def signed(self) -> bytes | None:
        return self._documents.revocations.signed

    def offer(self, signed: bytes, source: str, now: float, *, prefix: str = "") -> None:
        """As ListHolder.offer. `prefix`: where the list lies, for an error."""
        try:
            revoked = self._documents.revocations.take(signed)
        except PolicyError as error:
            self.doubt(source, f"{prefix}{error}")
            return
        if revoked is None:
            return
        self._unkept = True
        self._keep(source)
        names = sorted(each.router for each in self._documents.revoked())
        for router in self._documents.drop_revoked():
            self.doubt(source, f"the document of {router} is signed by an administrator whose key is revoked")
        self._event(Event("revocation", {"version": revoked.version, "origin": source, "routers": names}))
        self._changed(now)

    def _keep(self, source: str) -> None:
        if self.signed is None:
            return
        try:
            self._ledger.keep_revocation(self.signed, self.version)
            self._unkept = False
        except sqlite3.Error as error:
            self.doubt(source, f"the ledger does not accept list {self.version}: {error}")

    def keep_again(self) -> None:
        """Write the list in force to the ledger that refused it."""
        if self._unkept:
            self._keep("ledger")

    def look(self, lies: bytes | None, source: str, now: float) -> None:
        """A list in a place that is polled. An error of it is reported once."""
        if lies is None or lies in (self.signed, self._rejected.get(source)):
            return
        self.offer(lies, source, now, prefix=f"{FILE}: " if source == "folder" else f"{self._ledger.path}: ")
        if self.signed != lies:
            self._rejected[source] = lies

    def doubt(self, source: str, what: str) -> None:
        """As ListHolder.doubt."""
        self._event(Event("error", {"what": "revocation", "peer": source, "detail": what}))
