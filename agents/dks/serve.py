"""The DKS in one process: its files, then the core on its sockets. Alone, or as one of several workers.

Knows nothing of the command line, nor of the other workers.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.dks.config import DksConfig
from agents.dks.core import DksCore
from agents.dks.documents import Documents
from agents.dks.policy_client import Folders, PolicyClient
from agents.dks.policy_http import PolicyHttp, PolicyServerError
from agents.dks.received_confirmations import FOLDER, kept
from agents.dks.store import GenerationLedger
from agents.policy.document import PolicyDocument
from agents.policy.errors import PolicyError
from agents.policy.keys import read_private_key, read_public_key, spki
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.revocation import MAX_OCTETS
from agents.runtime import harden, keylog
from agents.runtime.asyncio_driver import Driver
from agents.runtime.clock import WallClock
from agents.runtime.effects import Event
from agents.runtime.events import EventLog
from agents.runtime.storage import open_regular
from agents.runtime.udp import UdpPort

_SHOWN = 5
LEDGER = "generations.sqlite"


class _Folder:
    """The documents' folder: read again when it has changed, and when the revocation list has: without the documents of
    a revoked administrator there is room for older ones."""

    def __init__(self, path: Path, documents: Documents, log: EventLog) -> None:
        self._path, self._documents, self._log = path, documents, log
        self._seen = (0, 0)

    def __call__(self) -> list[PolicyDocument]:
        changed = (self._path.stat().st_mtime_ns, self._documents.revocations.version)
        if changed == self._seen:
            return []
        self._seen = changed
        fresh, wrong = self._documents.load(self._path)
        for each in wrong:
            self._log.write(Event("error", {"what": "document", "detail": each}))
        return fresh


def prepare(config: DksConfig) -> PolicyClient | None:
    """Make the folders; the client of the Policy Server, if configured. PolicyError, OSError."""
    harden.folder(config.state_dir)
    harden.folder(config.state_dir / FOLDER)
    policy = _policy_client(config, read_public_key(config.policy_server_key))
    if policy is not None:
        config.documents.mkdir(parents=True, exist_ok=True)
    return policy


async def serve(config: DksConfig, log: EventLog, key_log: keylog.KeyLog | None) -> None:
    """The whole DKS until SIGTERM. PolicyError, sqlite3.Error, OSError."""
    policy = prepare(config)
    port = UdpPort(config.port, config.listen)
    fetching = asyncio.create_task(policy.run(log.write)) if policy is not None else None
    try:
        await run_core(config, port, log, key_log, control=config.socket)
    finally:
        if fetching is not None:
            fetching.cancel()
        port.close()


async def serve_share(
    config: DksConfig,
    log: EventLog,
    key_log: keylog.KeyLog | None,
    *,
    share: tuple[int, int],
    sockets: Sequence[socket.socket],
    control: Path | None,
) -> None:
    """One worker's part until SIGTERM, in existing folders. PolicyError, sqlite3.Error, OSError."""
    port = UdpPort(config.port, bound=sockets)
    try:
        await run_core(config, port, log, key_log, control=control, share=share)
    finally:
        port.close()


async def run_core(
    config: DksConfig,
    port: UdpPort,
    log: EventLog,
    key_log: keylog.KeyLog | None,
    *,
    control: Path | None,
    share: tuple[int, int] = (0, 1),
) -> None:
    """The core with its ledger and documents on this port. PolicyError, sqlite3.Error, OSError."""
    documents = Documents(config.domain, read_public_key(config.policy_server_key))
    folder = _Folder(config.documents, documents, log)
    folder()
    if not len(documents):
        log.write(Event("no_routers", {"documents": config.documents, "allowed": "ROUTER.cose of each router"}))
    identity = read_private_key(config.identity)
    _compare(config, identity, documents, log)
    _doubt_dates(config, documents, log)
    confirmed = config.state_dir / FOLDER
    ledger = GenerationLedger(config.state_dir / LEDGER)
    try:
        core = DksCore(
            identity,
            documents,
            ledger,
            domain=config.domain,
            name=config.name,
            random=os.urandom,
            poll=folder,
            poll_list=lambda: read_list(config.documents / REVOCATION),
            confirmed=kept(confirmed),
            look=partial(kept, confirmed) if share[1] > 1 else None,
            share=share,
            log_keys=key_log is not None,
            rate=config.rate,
            burst=config.burst,
        )
        gc.collect()
        gc.freeze()  # documents stay: garbage collections need not scan them again and again
        served = (
            share[1] == 1 and config.metrics_port is not None
        )  # with several workers, the supervisor answers for all
        driver = Driver(
            core, port, config.state_dir, log, control=control, key_log=key_log, ready_at_once=True,
            metrics=(config.metrics_address, config.metrics_port, "dks") if served and config.metrics_port else None,
        )  # fmt: skip
        await driver.run()
    finally:
        ledger.close()


def _compare(config: DksConfig, identity: Ed25519PrivateKey, documents: Documents, log: EventLog) -> None:
    """Report that routers expect another DKS than this one. It starts all the same: documents that name it may come."""
    for name in documents.routers():
        document = documents.of(name)
        if document is None or (document.dks.name, document.dks.key) == (config.name, spki(identity)):
            continue
        what = f"name {config.name!r}" if document.dks.name != config.name else f"identity {config.identity}"
        detail = f"{what}: not that of the DKS that the document of {name} names, so routers reject this DKS"
        command = "policy set dks on the Policy Server, or bring the right key and name here"
        log.write(Event("error", {"what": "identity", "detail": detail, "next": command}))
        return


def _doubt_dates(config: DksConfig, documents: Documents, log: EventLog) -> None:
    """Report what in the documents contradicts the clock. They are passed on all the same: the clock is wrong more
    often."""
    now_s = WallClock(config.clock)()
    current = [document for name in documents.routers() if (document := documents.of(name)) is not None]
    expired = [each.router for each in current if now_s >= each.expires_at]
    if expired:
        detail = f"{len(expired)} of {len(current)} have expired by this clock: {', '.join(expired[:_SHOWN])}"
        log.write(Event("error", {"what": "documents", "detail": detail, "next": "policy renew; policy export"}))
    newest = max((each.issued_at for each in current), default=0)
    if now_s < newest:
        detail = f"the clock says {now_s:.0f} s, and a document was issued at {newest} s (Unix time)"
        log.write(Event("error", {"what": "clock", "detail": detail, "next": "timedatectl; chronyc tracking"}))


def _policy_client(config: DksConfig, key: Ed25519PublicKey) -> PolicyClient | None:
    if config.policy_token is None:
        return None
    try:
        ask = PolicyHttp(config.policy_url, config.policy_token, config.policy_ca)
    except PolicyServerError as error:
        raise PolicyError(str(error)) from error
    return PolicyClient(ask, Folders(config.documents, config.state_dir / FOLDER), config.domain, key)


def read_list(path: Path) -> bytes | None:
    """The signed revocation list, or None. OSError."""
    try:
        with open_regular(path) as file:
            return file.read(MAX_OCTETS + 1)
    except FileNotFoundError:
        return None
