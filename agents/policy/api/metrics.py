"""What the Policy Server counts and measures, of its API and of its store. Knows no address of the API."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from agents.policy import confirmation_folder
from agents.policy.confirmation import missing
from agents.policy.delegation import split, verify_delegation
from agents.policy.document import PolicyDocument, verify_document
from agents.policy.revocation import verify_list
from agents.policy.store import PolicyStore
from agents.runtime.metrics import Counts, Family, build, gauge

_COUNTED = {
    "request": ("requests_total", ("method", "status"), "Requests to the API, by how they were answered."),
    "spent": (
        "request_seconds_total",
        ("method",),
        "Time from request to answer, the store's transactions in it.",
    ),
}


class PolicyCounts(Counts):
    """Counters since the start."""

    def __init__(self) -> None:
        super().__init__("policy", _COUNTED)
        self._verified: tuple[int, list[PolicyDocument], list[int]] = (0, [], [])

    def answered(self, method: str, status: int, seconds: float) -> None:
        """One more request."""
        self.add("requests_total", [method, str(status)])
        self.add("request_seconds_total", [method], seconds)

    def verified(self, store: PolicyStore) -> tuple[list[PolicyDocument], list[int]]:
        """The documents of the last version, and when their delegations end, Unix seconds: verified once, since what is
        committed does not change. PolicyError."""
        version, root, domain = store.version, store.public_key, store.draft().name
        if version != self._verified[0]:
            signed = store.documents()
            documents = [verify_document(each, root, domain=domain, router=name) for name, each in signed.items()]
            delegations = [
                delegation for delegation, _document in map(split, signed.values()) if delegation is not None
            ]
            ends = [verify_delegation(each, root, domain=domain)[0].expires_at for each in delegations]
            self._verified = (version, documents, ends)
        return self._verified[1:]


def families(folder: Path, counts: PolicyCounts) -> list[Family]:
    """From the store as it is now. PolicyError, OSError, sqlite3.Error."""
    with closing(PolicyStore(folder)) as store:
        return [build("policy"), *_of_store(store, *counts.verified(store)), *counts.families()]


def _of_store(store: PolicyStore, documents: Sequence[PolicyDocument], delegations_end: Sequence[int]) -> list[Family]:
    version, draft, root = store.version, store.draft(), store.public_key
    listed = store.revocation()
    said, _wrong = (
        confirmation_folder.read(store.domain(version), store.folder / confirmation_folder.FOLDER)
        if version
        else ({}, [])
    )
    ends = [*(each.expires_at for each in documents), *delegations_end]
    return [
        gauge("policy_version", "The last version that was committed.", version),
        gauge("policy_routers", "Routers of the draft.", len(draft.routers)),
        gauge("policy_documents", "Signed documents of the last version.", len(documents)),
        gauge(
            "policy_document_expires_timestamp_seconds",
            "When the first document, or the delegation that signed one, expires, Unix time; 0 without documents.",
            min(ends, default=0),
        ),
        gauge("policy_clock_timestamp_seconds", "This machine's clock.", time.time()),
        gauge(
            "policy_revocation_version",
            "Version of the newest revocation list; 0 without one.",
            0 if listed is None else verify_list(listed, root, domain=draft.name).version,
        ),
        gauge(
            "policy_confirmations_missing",
            "Routers that have not confirmed all of their document.",
            sum(bool(missing(each, said.get(each.router))) for each in documents),
        ),
        gauge("policy_root_key_present", "1: the root key lies in the store.", (store.folder / "key.pem").exists()),
    ]
