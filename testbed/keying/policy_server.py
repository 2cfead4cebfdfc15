"""The laboratory's Policy Server during a run: a real store, which takes steps of a deployment and removes routers on
request.

It reads the routers' confirmations where the DKS keeps them, and puts documents where the DKS finds them, as an
administrator's `policy deploy step --confirmations … --export …` does. Knows nothing of nodes or processes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.dks.received_confirmations import FOLDER as CONFIRMATIONS
from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import edit
from agents.policy.delegation import join
from agents.policy.deploy import Deployer, Done, Held, from_folder
from agents.policy.document import sign_document, verify_document
from agents.policy.domain import Domain
from agents.policy.errors import NothingToDo
from agents.policy.export import export_documents
from agents.policy.keys import spki
from agents.policy.names import DKS_NAME
from agents.policy.store import PolicyStore, Signer
from testbed.domains.build import ISSUED_AT
from testbed.domains.keys import POLICY_SERVER, laboratory_key
from testbed.keying.options import VALIDITY_S
from testbed.keying.provision import AgentFiles

WHO = "laboratory"
ADMINISTRATOR = "administrator"
VERSIONS_AHEAD = 1000
"""How much newer than the Policy Server's own a document is that an administrator signs without it."""


class LaboratoryPolicyServer:
    """One run's. `folder`: the run's; the store is made below it, with the domain as version 1."""

    def __init__(self, domain: Domain, folder: Path, seed: int) -> None:
        self._store = PolicyStore.create(folder / POLICY_SERVER, domain, laboratory_key(seed, POLICY_SERVER))
        self._store.commit(WHO, "as commissioned", ISSUED_AT)
        self._seed = seed
        self._signer: Signer | None = None
        self._apart = 0
        dks = AgentFiles(folder / "retained" / DKS_NAME)
        self._documents = dks.documents
        self._deployer = Deployer(self._store, from_folder(dks.state / CONFIRMATIONS))

    @property
    def version(self) -> int:
        """The last one committed."""
        return self._store.version

    def step(self, direction: str, at_once: int = 1, protocol: str = "all") -> Mapping[str, Any]:
        """Try the next step "up" (to `required`) or "back" (to `clear`), of all protocols or one; the result, for the
        record. A deployment of another protocol begins when the one before has ended."""
        try:
            done = self._try(direction, at_once, () if protocol == "all" else (RoutingProtocol(protocol),))
        except Held as held:
            return {"result": "held", "waiting": held.missing}
        except NothingToDo:
            done = None
        if done is None:
            return {"result": "done"}
        export_documents(self._store, self._documents)
        return {
            "result": "taken",
            "version": done.commit.version,
            "changes": [str(each) for each in done.step.changes],
            "routers": sorted(done.routers),
            "left": done.left,
        }

    def allow(self, ends: Sequence[tuple[str, str]], *, export: bool) -> dict[str, bytes]:
        """Allow these interfaces, (router, interface) each, to be neighbours, as an administrator with a delegated key
        does; the new signed documents, by router, and none if they are already neighbours. `export`: the DKS gets
        them."""
        domain = self._store.draft()
        for here, there in itertools.combinations(ends, 2):
            if not any(each.joins(here, there) for each in domain.adjacencies):
                domain = edit.allow(domain, here, there)
        if domain == self._store.draft():
            return {}
        signer = self._administrator()
        linked = self._store.draft().model_copy(update={"adjacencies": domain.adjacencies})
        return self._signed(linked, "a new link", signer, export=export)

    def replace(self, router: str, key: bytes, *, export: bool) -> dict[str, bytes]:
        """Give a router another key (SubjectPublicKeyInfo), as an administrator with a delegated key does without the
        root key; the new signed documents, by router. `export`: the DKS gets them."""
        signer = self._administrator()
        domain = edit.approve_router(edit.replace_router(self._store.draft(), router, key), router, key)
        return self._signed(domain, f"{router} was replaced", signer, export=export)

    def _signed(self, domain: Domain, why: str, signer: Signer, *, export: bool) -> dict[str, bytes]:
        """Commit this change as an administrator; the new documents, by router."""
        self._store.edit(domain)
        _commit, fresh = self._store.commit(ADMINISTRATOR, why, ISSUED_AT, signer=signer)
        if export:
            export_documents(self._store, self._documents)
        documents = self._store.documents()
        return {name: documents[name] for name in sorted(fresh)}

    def signed_apart(self, router: str) -> bytes:
        """A router's document under a higher version, signed with the administrator's key without the Policy Server:
        the possible act of a holder of that key."""
        signer = self._administrator()
        document = verify_document(
            self._store.documents()[router], self._store.public_key, domain=self._store.draft().name
        )
        self._apart += VERSIONS_AHEAD
        newer = document.model_copy(update={"version": document.version + self._apart})
        return join(signer.delegation, sign_document(newer, signer.key))

    def dismiss(self) -> bytes:
        """Revoke the administrator's key; the signed list."""
        self._administrator()
        if any(each.name == ADMINISTRATOR for each in self._store.draft().administrators):
            self._store.edit(edit.revoke_administrator(self._store.draft(), ADMINISTRATOR))
            self._store.commit(WHO, f"{ADMINISTRATOR} was dismissed", ISSUED_AT)
        signed = self._store.revocation()
        assert signed is not None
        return signed

    def _administrator(self) -> Signer:
        """The signer without the domain's root key."""
        if self._signer is None:
            key = laboratory_key(self._seed, ADMINISTRATOR)
            self._store.edit(edit.add_administrator(self._store.draft(), ADMINISTRATOR, spki(key)))
            self._store.commit(WHO, f"{ADMINISTRATOR} may sign", ISSUED_AT)
            self._signer = Signer(key, self._store.delegate(ADMINISTRATOR, ISSUED_AT, VALIDITY_S))
        return self._signer

    def removed(self, router: str) -> bool:
        """True if this router's key is revoked."""
        return router not in self._store.draft().routers

    def remove(self, router: str, *, export: bool) -> bytes:
        """Revoke this router's key, unless it is revoked; the signed list. `export`: the DKS gets it, and the documents
        without that router."""
        if not self.removed(router):
            self._store.edit(edit.remove_router(self._store.draft(), router))
            self._store.commit(WHO, f"remove {router}", ISSUED_AT)
        if export:
            export_documents(self._store, self._documents)
            (self._documents / f"{router}.cose").unlink(missing_ok=True)
        signed = self._store.revocation()
        assert signed is not None
        return signed

    def _try(self, direction: str, at_once: int, protocols: tuple[RoutingProtocol, ...]) -> Done | None:
        goal = Mode.REQUIRED if direction == "up" else Mode.CLEAR
        under_way = self._deployer.current()
        if under_way is not None and under_way.protocols != protocols:
            if (before := self._deployer.step(WHO, ISSUED_AT)) is not None:
                return before
            under_way = None
        if under_way is None:
            return self._deployer.start((), goal, at_once, WHO, ISSUED_AT, protocols=protocols)
        if under_way.goal is not goal:
            return self._deployer.back(goal, at_once, WHO, ISSUED_AT)
        return self._deployer.step(WHO, ISSUED_AT)
