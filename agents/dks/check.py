"""`dks check`: can this DKS do its work? Before its start or while it runs. Changes nothing."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.dks.config import DksConfig, read_config
from agents.dks.documents import Documents
from agents.dks.policy_http import PolicyHttp, PolicyServerError
from agents.dks.serve import LEDGER, read_list
from agents.dks.store import GenerationLedger
from agents.dks.supervisor import refuse_central
from agents.policy.document import PolicyDocument
from agents.policy.errors import PolicyError
from agents.policy.keys import public_key_from_pem, spki
from agents.policy.revocation import FILE as REVOCATION
from agents.runtime import checks as common
from agents.runtime.checks import Checks
from agents.runtime.clock import WallClock
from agents.runtime.udp import bind

EXPORT = "policy export FOLDER on the Policy Server, and copy its *.cose there"
SHOWN = 5


def check(path: Path) -> Checks:
    """All findings, as far as earlier failures allow."""
    checks = Checks()
    config = checks.tried("configuration", lambda: read_config(path), str(path))
    if config is None:
        return checks
    common.config_file(checks, path)
    identity, server = common.keys(checks, config.identity, config.policy_server_key, config.state_dir)
    common.state_folder(checks, config.state_dir)
    checks.tried("ledger", lambda: _ledger(config), str)
    now_s = WallClock(config.clock)()
    newest = _documents(checks, config, server, identity, now_s) if server is not None else None
    common.clock(checks, now_s, 0 if newest is None else newest.issued_at, "the newest document was issued")
    if config.workers > 1 and server is not None:
        checks.tried("workers", lambda: refuse_central(config), str(config.workers))
    _policy_server(checks, config, server)
    what = f"UDP {config.listen or 'any address'}, port {config.port}"
    common.doors(checks, "dks", config, what, lambda: bind(config.port, config.listen))
    return checks


def _ledger(config: DksConfig) -> str:
    path = config.state_dir / LEDGER
    if not path.exists():
        return f"{path}: does not exist yet; the first start makes it"
    try:
        ledger = GenerationLedger(path, read_only=True)
        try:
            groups = f"{len(ledger.entries())} groups"
            return f"{path}: {'older format; the next start converts it' if ledger.older else groups}"
        finally:
            ledger.close()
    except sqlite3.Error as error:
        raise PolicyError(f"{path}: {error}") from error


def _documents(
    checks: Checks, config: DksConfig, server: Ed25519PublicKey, identity: Ed25519PrivateKey | None, now_s: float
) -> PolicyDocument | None:
    """The errors of the documents; the one that was issued last."""
    documents = Documents(config.domain, server)
    loaded = checks.tried("documents", lambda: _loaded(config, documents), lambda _: f"{config.documents}: can be read")
    if loaded is None:
        return None
    for each in loaded[:SHOWN]:
        checks.wrong("documents", f"{config.documents}/{each}", EXPORT)
    if len(loaded) > SHOWN:
        checks.wrong("documents", f"{len(loaded) - SHOWN} more files that are not documents of this domain", EXPORT)
    current = [document for name in documents.routers() if (document := documents.of(name)) is not None]
    if not current:
        say = checks.warn if config.policy_url else checks.wrong
        say("documents", f"{config.documents}: no router's document; allowed: ROUTER.cose of each", EXPORT)
        return None
    expired = [each.router for each in current if now_s >= each.expires_at]
    checks.ok("documents", f"of {len(current)} routers")
    if expired:
        names = ", ".join(expired[:SHOWN])
        checks.wrong("documents", f"{len(expired)} of {len(current)} have expired by this clock: {names}", EXPORT)
    for document in current:
        if (wrong := _other_dks(config, document, identity)) is not None:
            command = "policy set dks on the Policy Server, or bring the right key and name here"
            checks.wrong("identity", f"{wrong}, so routers reject this DKS", command)
            break
    return max(current, key=lambda each: each.issued_at)


def _other_dks(config: DksConfig, document: PolicyDocument, identity: Ed25519PrivateKey | None) -> str | None:
    if document.dks.name != config.name:
        return f"the document of {document.router} names the DKS {document.dks.name}, but this one is {config.name}"
    if identity is not None and document.dks.key != spki(identity):
        return f"{config.identity}: not the key of the DKS that the document of {document.router} names"
    return None


def _loaded(config: DksConfig, documents: Documents) -> list[str]:
    os.listdir(config.documents)  # the folder is wrong, not one file in it
    signed = read_list(config.documents / REVOCATION)
    if signed is not None:
        try:
            documents.revocations.take(signed)
        except PolicyError as error:
            file = config.documents / REVOCATION
            raise PolicyError(f"{file}: {error}\n  next:    policy export writes the list again") from error
    return documents.load(config.documents)[1]


def _policy_server(checks: Checks, config: DksConfig, key: Ed25519PublicKey | None) -> None:
    if config.policy_token is None:
        return
    token, user = config.policy_token, common.user_of(config.state_dir)

    def look() -> str:
        try:
            status, answer = PolicyHttp(config.policy_url, token, config.policy_ca, user)("GET", "/v1/public-key")
        except PolicyServerError as error:
            raise PolicyError(f"{error}\n  next:    curl -v {config.policy_url}/v1/public-key") from error
        if status in (401, 403):
            raise PolicyError(
                f"{config.policy_url} rejects the token of {token} ({status})\n  next:    on the Policy Server: "
                "policy token add NAME --role confirm"
            )
        if status != 200:
            raise PolicyError(f"{config.policy_url} answers {status}\n  next:    policy check on the Policy Server")
        if key is not None and public_key_from_pem(answer, config.policy_url) != key:
            raise PolicyError(
                f"{config.policy_url} signs with another key than {config.policy_server_key}\n  next:    compare "
                "key.pub of the store with it, over another channel"
            )
        return f"{config.policy_url} answers, and its key is the pinned one"

    checks.tried("policy server", look, str)
