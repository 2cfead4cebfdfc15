"""The routers' confirmations: the newest of each, verified, kept on the disk, and shown.

The DKS cannot make or alter one. It accepts no older version of a router's confirmation; of one version it keeps the
last, which comes over the router's own IKE SA. Knows nothing of messages; gives Persist effects.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.dks.documents import Documents
from agents.policy.confirmation import MAX_OCTETS, SUFFIX, Confirmation, as_plain, missing, verify_confirmation
from agents.policy.errors import PolicyError
from agents.policy.keys import public_key_from_spki
from agents.runtime.effects import Persist
from agents.runtime.storage import open_regular

FOLDER = "confirmations"
MIN_S = 0.5
"""The least time between two pushes of a router; verification takes time."""


Look = Callable[[str | None], Mapping[str, bytes]]


def kept(folder: Path, router: str | None = None) -> dict[str, bytes]:
    """The confirmations of this router, or of all, on the disk, by router. OSError."""
    files = {}
    for path in sorted(folder.glob(f"{'*' if router is None else router}{SUFFIX}")):
        with open_regular(path) as file:
            files[path.name.removesuffix(SUFFIX)] = file.read(MAX_OCTETS + 1)
    return files


class TooOften(Exception):
    """The router has to come again later."""


class Confirmations:
    """The confirmations of all routers. `kept`: those that were on the disk, router → octets; invalid ones are left
    out.

    `look`: reads those of one router, or of all (None), from the disk, if several processes keep them.
    """

    def __init__(
        self,
        domain: str,
        documents: Documents,
        kept: Mapping[str, bytes],
        emit: Callable[[Persist], None],
        look: Look | None = None,
    ) -> None:
        self._domain, self._documents, self._emit, self._look = domain, documents, emit, look
        self._received: dict[str, tuple[Confirmation, bytes, bytes]] = {}
        """By router: the confirmation, its octets, and the key that signed it."""
        self._not_before: dict[str, float] = {}
        self._learn(kept)

    def _learn(self, kept: Mapping[str, bytes]) -> None:
        for router, signed in kept.items():
            known = self._said(router)
            if known is not None and self._received[router][1] == signed:
                continue
            try:
                said, key = self._verified(signed, router)
            except PolicyError:
                continue
            if known is None or said.version >= known.version:
                self._received[router] = said, signed, key

    def _said(self, router: str) -> Confirmation | None:
        """The newest confirmation of this router under its present key; one of an earlier key is ignored."""
        confirmation, document = self._received.get(router), self._documents.of(router)
        return (
            confirmation[0]
            if confirmation is not None and document is not None and confirmation[2] == document.identity
            else None
        )

    def look(self, router: str | None = None) -> None:
        """Read the confirmations that other processes of this DKS have accepted, of one router or of all. OSError."""
        if self._look is not None:
            self._learn(self._look(router))

    def _verified(self, signed: bytes, router: str) -> tuple[Confirmation, bytes]:
        document = self._documents.of(router)
        if document is None:
            raise PolicyError(f"{router} has no document")
        key = public_key_from_spki(document.identity)
        return verify_confirmation(signed, key, domain=self._domain, router=router), document.identity

    def take(self, signed: bytes, router: str, now: float | None) -> Confirmation | None:
        """Accept the confirmation of an authenticated router; None when it is not new. PolicyError, TooOften.

        `now`: None with a registration, which has its own rate limit.
        """
        if now is not None:
            if now < self._not_before.get(router, now):
                raise TooOften
            self._not_before[router] = now + MIN_S
        said, key = self._verified(signed, router)
        self.look(router)
        before = self._said(router)
        if before is not None and said.version < before.version:
            raise PolicyError(
                f"{router} has already confirmed version {before.version}, which is later than {said.version}"
            )
        if said.says_the_same(before):
            return None
        self._received[router] = said, signed, key
        # Not binding: one router's confirmation must not delay others, and the router repeats it when it registers.
        self._emit(Persist(f"{FOLDER}/{router}{SUFFIX}", signed, binding=False))
        return said

    def count(self) -> tuple[int, int]:
        """The number of routers that have confirmed their whole document, and the number with a document."""
        names = self._documents.routers()
        return sum(not self._missing(name) for name in names), len(names)

    def _missing(self, router: str) -> list[str]:
        document = self._documents.of(router)
        return [] if document is None else missing(document, self._said(router))

    def status(self) -> dict[str, dict[str, Any]]:
        """Every router's confirmation, the parts of its document that it lacks, and the octets (base64)."""
        rows = {}
        for router in self._documents.routers():
            document = self._documents.of(router)
            said = self._said(router)
            signed = self._received[router][1] if said is not None else b""
            rows[router] = {
                "document_version": None if document is None else document.version,
                "said": None if said is None else as_plain(said),
                "missing": self._missing(router),
                "signed": base64.b64encode(signed).decode() if said is not None else None,
            }
        return rows
