"""The DKS's connection to the Policy Server: documents and revocation lists down, routers' confirmations up.

Downloads are verified, then written into the documents' folder, each file in one step; the DKS finds them there as if
an administrator had put them there. Nothing older replaces anything newer. After an error everything stays, and the
next rounds come later and later. Knows nothing of HTTP (policy_http) or of the DKS's core.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.dks.policy_http import PolicyServerError
from agents.dks.received_confirmations import kept
from agents.policy.document import verify_document
from agents.policy.errors import PolicyError
from agents.policy.keys import write_public
from agents.policy.names import check_router
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.revocation import Revocations, verify_list
from agents.runtime.effects import Event
from agents.runtime.storage import read_all

PERIOD_S, LONGEST_S, FACTOR = 5.0, 300.0, 2.0
Ask = Callable[[str, str, bytes | None], tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Folders:
    """`documents`: the DKS's folder of ROUTER.cose; `confirmations`: its folder of ROUTER.confirmation."""

    documents: Path
    confirmations: Path


class PolicyClient:
    """One DKS's. `key`: the Policy Server's public key."""

    def __init__(self, ask: Ask, folders: Folders, domain: str, key: Ed25519PublicKey) -> None:
        self._ask, self._folders, self._domain, self._key = ask, folders, domain, key
        self._settled: dict[
            str, bytes
        ] = {}  # router → hash of the confirmation that the Policy Server has, or has rejected
        self._wait_s = PERIOD_S

    # -- one round ---------------------------------------------------------------------------------------

    def round(self) -> list[Event]:
        """One round of requests; the errors to record. PolicyServerError, OSError."""
        # The list first: a document signed by an administrator whom it revokes then blocks nothing.
        events = [*self._revocation(), *self._documents()]
        return [*events, *self._confirm()]

    def _get(self, path: str) -> bytes | None:
        status, data = self._ask("GET", path, None)
        if status == 404:
            return None
        if status != 200:
            raise PolicyServerError(f"GET {path} was answered with {status}")
        return data

    def _documents(self) -> list[Event]:
        data = self._get("/v1/documents")
        try:
            listed = json.loads(data or b"")["documents"]
            octets = {check_router(name): base64.b64decode(text, validate=True) for name, text in listed.items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, PolicyError) as error:
            raise PolicyServerError(f"GET /v1/documents: no documents: {error}") from error
        events = []
        fresh = 0
        for name, signed in sorted(octets.items()):
            try:
                fresh += self._keep(name, signed)
            except PolicyError as error:
                events.append(_error(f"{name}: {error}"))
        return [*events, Event("policy_fetched", {"documents": fresh})] if fresh else events

    def _keep(self, name: str, signed: bytes) -> bool:
        document = verify_document(signed, self._key, domain=self._domain, router=name)
        path = self._folders.documents / f"{name}.cose"
        try:
            kept = read_all(path)
            before = verify_document(
                kept, self._key, domain=self._domain, router=name, revoked=self._revocations().revokes_administrator
            ).version
        except (FileNotFoundError, PolicyError):
            before = 0
        if document.version > before:
            write_public(path, signed)
        return document.version > before

    def _revocations(self) -> Revocations:
        """The present list."""
        revocations = Revocations(self._domain, self._key)
        with contextlib.suppress(FileNotFoundError, PolicyError):
            revocations.take(read_all(self._folders.documents / REVOCATION))
        return revocations

    def _revocation(self) -> list[Event]:
        signed = self._get("/v1/revocation")
        if signed is None:
            return []
        path = self._folders.documents / REVOCATION
        try:
            fresh = verify_list(signed, self._key, domain=self._domain)
        except PolicyError as error:
            return [_error(f"revocation list: {error}")]
        try:
            before = verify_list(read_all(path), self._key, domain=self._domain).version
        except (FileNotFoundError, PolicyError):
            before = 0
        if fresh.version <= before:
            return []
        write_public(path, signed)
        return [Event("policy_fetched", {"revocation": fresh.version})]

    def _confirm(self) -> list[Event]:
        events = []
        for router, signed in kept(self._folders.confirmations).items():
            digest = hashlib.sha256(signed).digest()
            if self._settled.get(router) == digest:
                continue
            status, _answer = self._ask("POST", "/v1/confirmations", signed)
            if status == 200:
                events.append(Event("confirmation_passed_on", {"peer": router}))
            elif status == 422:  # it will be rejected the next time too
                events.append(_error(f"the confirmation of {router} was rejected"))
            else:
                raise PolicyServerError(f"POST /v1/confirmations was answered with {status}")
            self._settled[router] = digest
        return events

    # -- again and again ---------------------------------------------------------------------------------

    def wait_s(self, ok: bool) -> float:
        """How long to wait before the next round: longer after each failure, with jitter."""
        self._wait_s = PERIOD_S if ok else min(LONGEST_S, self._wait_s * FACTOR)
        return self._wait_s * random.uniform(0.75, 1.25)

    async def run(self, record: Callable[[Event], None]) -> None:
        """Run until cancelled. A thread waits for the answers; `record` is called in the event loop's thread."""
        while True:
            try:
                for event in await asyncio.to_thread(self.round):
                    record(event)
                ok = True
            except (PolicyServerError, OSError) as error:
                record(_error(str(error)))
                ok = False
            await asyncio.sleep(self.wait_s(ok))


def _error(detail: str) -> Event:
    return Event("error", {"what": "policy server", "detail": detail})
