"""`policy check`: can the Policy Server's store be used, and what expires soon? Changes nothing.

Knows nothing of the command line.
"""

from __future__ import annotations

import importlib.util
import os
import sqlite3
from pathlib import Path

from agents.policy import confirmation_folder as confirmed
from agents.policy.api.tokens import TokenStore
from agents.policy.document import PolicyDocument, verify_document
from agents.policy.errors import MissingStore, PolicyError
from agents.policy.keys import read_private_key
from agents.policy.problems import problems
from agents.policy.store import PolicyStore
from agents.runtime import checks as common
from agents.runtime.checks import Checks
from agents.runtime.settings import ConfigError

SOON_S = 14 * 86_400
"""A document or delegation that expires within this time is a warning."""


def check(folder: Path, now_s: float) -> Checks:
    """All findings, as far as earlier failures allow. `now_s`: Unix seconds."""
    checks = Checks()
    store = checks.tried("store", lambda: _opened(folder), lambda _: f"{folder}: of this release's format")
    if store is None:
        return checks
    try:
        common.state_folder(checks, folder)
        _keys(checks, store)
        last = store.history()[0] if store.version else None
        common.clock(checks, now_s, 0 if last is None else last.at, f"version {store.version} was committed")
        checks.tried("history", lambda: _verified(store), str)
        _draft(checks, store)
        _documents(checks, store, now_s)
        tokens = checks.tried("tokens", TokenStore(folder).all, lambda listed: f"{len(listed)}")
        if tokens and importlib.util.find_spec("uvicorn") is None:
            checks.warn(
                "HTTP API",
                "there are tokens, but uvicorn, which serves the API, is not installed",
                "pip install 'router-keys[server]'",
            )
        if store.version:
            _said, wrong = confirmed.read(store.domain(store.version), folder / confirmed.FOLDER)
            for each in wrong:
                checks.warn("confirmations", each, f"ls -l {folder / confirmed.FOLDER}")
    finally:
        store.close()
    return checks


def _opened(folder: Path) -> PolicyStore:
    try:
        return PolicyStore(folder)
    except MissingStore as error:
        raise ConfigError(str(error)) from error
    except sqlite3.Error as error:
        raise PolicyError(f"{folder}/policy.db: {error}\n  next:    ls -l {folder}") from error


def _keys(checks: Checks, store: PolicyStore) -> None:
    public = checks.tried("public key", lambda: store.public_key, f"{store.folder / 'key.pub'}")
    path = store.folder / "key.pem"
    if not path.exists() and not os.path.lexists(path):
        checks.ok("root key", "not here: administrators sign with delegated keys")
        return
    key = checks.tried("root key", lambda: read_private_key(path), f"{path}: Ed25519, ours")
    if key is not None and public is not None and key.public_key() != public:
        checks.wrong(
            "root key",
            f"{path}: not the key of key.pub; routers would reject everything that it signs",
            f"ls -l {store.folder}",
        )


def _verified(store: PolicyStore) -> str:
    wrong = store.verify()
    if wrong:
        raise PolicyError("\n".join([*wrong, "  next:    restore the store from a backup; policy verify"]))
    return f"{store.version} versions, all as signed"


def _draft(checks: Checks, store: PolicyStore) -> None:
    for each in problems(store.draft()):
        checks.warn("draft", each, "policy diff")


def _documents(checks: Checks, store: PolicyStore, now_s: float) -> None:
    def read() -> list[PolicyDocument]:
        name = store.domain(store.version).name if store.version else ""
        signed = store.documents()
        return [verify_document(each, store.public_key, domain=name, router=router) for router, each in signed.items()]

    verified = checks.tried("documents", read, lambda documents: f"of {len(documents)} routers")
    ended = [each for each in verified or () if now_s >= each.expires_at]
    soon = [each for each in verified or () if now_s < each.expires_at <= now_s + SOON_S]
    renew = "policy renew; policy export, or the DKS fetches them"
    if ended:
        checks.wrong("documents", f"expired: {', '.join(each.router for each in ended)}", renew)
    if soon:
        first = min(each.expires_at for each in soon)
        checks.warn("documents", f"{len(soon)} end soon, the first at {common.utc(first)}", renew)
