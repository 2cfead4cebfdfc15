"""The signed documents that the DKS passes on: read and verified once, and again on request.

The DKS cannot make or alter one. Knows nothing of messages.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.ikev2.config import PostQuantum
from agents.policy.document import PolicyDocument, verify_document
from agents.policy.errors import PolicyError
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.revocation import Revocations
from agents.runtime.storage import read_all


class Documents:
    """Every router's newest document of one domain."""

    def __init__(self, domain: str, policy_server_key: Ed25519PublicKey) -> None:
        self._domain, self._key = domain, policy_server_key
        self._signed: dict[str, bytes] = {}
        self._documents: dict[str, PolicyDocument] = {}
        self.revocations = Revocations(domain, policy_server_key)
        self.changes = 0
        """How often a document was added or dropped."""

    def add(self, signed: bytes) -> PolicyDocument | None:
        """Add a document; None when the present one is as new. PolicyError for a wrong signature or domain."""
        document = self._verified(signed)
        known = self._documents.get(document.router)
        if known is not None and known.version >= document.version:
            return None
        self._documents[document.router] = document
        self._signed[document.router] = signed
        self.changes += 1
        return document

    def _verified(self, signed: bytes) -> PolicyDocument:
        revoked = self.revocations.revokes_administrator
        return verify_document(signed, self._key, domain=self._domain, revoked=revoked)

    def drop_revoked(self) -> list[str]:
        """Drop documents that the present revocation list makes invalid; their routers."""
        revoked_ones = []
        for router, signed in self._signed.items():
            try:
                self._verified(signed)
            except PolicyError:
                revoked_ones.append(router)
        for router in revoked_ones:
            del self._signed[router], self._documents[router]
        self.changes += 1
        return revoked_ones

    def load(self, folder: Path) -> tuple[list[PolicyDocument], list[str]]:
        """Read all *.cose of a folder: the new documents, and the errors of others. OSError for the folder."""
        fresh, wrong = [], []
        for path in sorted(folder / name for name in os.listdir(folder) if name.endswith(".cose")):
            if path.name == REVOCATION:
                continue
            try:
                document = self.add(read_all(path))
            except (PolicyError, OSError) as error:
                wrong.append(f"{path.name}: {error}")
                continue
            if document is not None:
                fresh.append(document)
        return fresh, wrong

    def of(self, router: str) -> PolicyDocument | None:
        """The document of this router; None when it has none, its key is revoked, or the document expired before the
        revocation list begins."""
        document = self._documents.get(router)
        return document if document is not None and not self._is_out(document) else None

    def _is_out(self, document: PolicyDocument) -> bool:
        return self.revocations.revokes(document.identity) or self.revocations.outdated(document)

    def revoked(self) -> list[PolicyDocument]:
        """The documents of routers whose keys are, or may be, revoked."""
        return [each for each in self._documents.values() if self._is_out(each)]

    def signed(self, router: str) -> bytes | None:
        """Its octets, as the Policy Server signed them."""
        return self._signed.get(router) if self.of(router) is not None else None

    @property
    def post_quantum(self) -> PostQuantum:
        """The key exchange that all documents ask for; while they differ it is `preferred`, so that every router can
        get its next document."""
        asked = {each.key_exchange for each in self._documents.values()}
        return asked.pop() if len(asked) == 1 else PostQuantum.PREFERRED

    def routers(self) -> list[str]:
        """All routers with a document, by name."""
        return sorted(self._documents)

    def __len__(self) -> int:
        return len(self._documents)
