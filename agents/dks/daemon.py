"""The DKS as a process: reads its files, then runs the core on a socket."""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.dks.config import DksConfig, read_config
from agents.dks.confirmations import FOLDER, kept
from agents.dks.confirmations_cli import show
from agents.dks.core import DksCore
from agents.dks.documents import Documents
from agents.dks.policy_client import Places, PolicyClient
from agents.dks.policy_http import PolicyHttp, PolicyServerError
from agents.dks.store import GenerationBook
from agents.policy.document import PolicyDocument
from agents.policy.errors import PolicyError
from agents.policy.keys import read_private_key, read_public_key
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.revocation import MAX_OCTETS
from agents.runtime import client, keylog
from agents.runtime.asyncio_driver import Driver
from agents.runtime.effects import Event
from agents.runtime.events import EventLog
from agents.runtime.settings import ConfigError
from agents.runtime.udp import UdpPort

EXIT_USAGE, EXIT_STATE = 2, 3
CONFIG = Path("/etc/router-keys/dks.toml")
BOOK = "generations.sqlite"


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, or ask. 0: ended in order; 1: refused; 2: unusable configuration; 3: unusable state or
    system, or no answer."""
    parser = argparse.ArgumentParser(prog="dks", description="Domain Key Server, or a question to the running one")
    parser.add_argument(
        "command", nargs="?", choices=("run", "status", "metrics", "events", "confirmations", "rekey"), default="run"
    )
    parser.add_argument("words", nargs="*", metavar="ROUTER [INTERFACE...]", help="rekey: whose groups")
    parser.add_argument("--config", type=Path, default=CONFIG, help=f"dks.toml ({CONFIG})")
    parser.add_argument("--socket", type=Path, help="where the running one answers (the configuration's `socket`)")
    parser.add_argument("--ike-log", type=Path, metavar="FILE", help=keylog.HELP)
    parser.add_argument("--json", action="store_true", help="confirmations: for programs")
    parser.add_argument(
        "--export", type=Path, metavar="FOLDER", help="confirmations: write them there, ROUTER.confirmation each"
    )
    arguments = parser.parse_intermixed_args(argv)
    if arguments.ike_log is not None and arguments.command != "run":
        parser.error(f"{arguments.command} takes no --ike-log")
    if arguments.export is not None and arguments.command != "confirmations":
        parser.error(f"{arguments.command} takes no --export")
    if bool(arguments.words) != (arguments.command == "rekey"):
        parser.error("rekey takes a router, and the other commands take none")
    try:
        if arguments.command != "run":
            socket = arguments.socket or read_config(arguments.config).socket
            if arguments.command == "confirmations" and socket is not None:
                return show(socket, as_json=arguments.json, folder=arguments.export)
            return _question(" ".join([arguments.command, *arguments.words]), socket)
        config = read_config(arguments.config)
        key_log = keylog.KeyLog(arguments.ike_log) if arguments.ike_log is not None else None
    except ConfigError as error:
        print(f"dks: {error}", file=sys.stderr)
        return EXIT_USAGE
    log = EventLog(config.events, config.name)
    try:
        asyncio.run(_run(config, log, key_log))
    except (PolicyError, sqlite3.Error, OSError) as error:
        log.write(Event("error", {"what": "fatal", "detail": str(error)}))
        print(f"dks: {error}", file=sys.stderr)
        return EXIT_STATE
    finally:
        log.close()
    return 0


def _question(command: str, path: Path | None) -> int:
    if path is None:
        raise ConfigError("the configuration names no `socket`, so the running DKS cannot be asked")
    if command == "events":
        return client.show_events("dks", path)
    return client.show(
        "dks", path, command, (lambda answer: str(answer["text"])[:-1]) if command == "metrics" else None
    )


class _Folder:
    """The documents' folder: read again when it has changed."""

    def __init__(self, path: Path, documents: Documents, log: EventLog) -> None:
        self._path, self._documents, self._log = path, documents, log
        self._seen = 0

    def __call__(self) -> list[PolicyDocument]:
        changed = self._path.stat().st_mtime_ns
        if changed == self._seen:
            return []
        self._seen = changed
        fresh, wrong = self._documents.load(self._path)
        for each in wrong:
            self._log.write(Event("error", {"what": "document", "detail": each}))
        return fresh


async def _run(config: DksConfig, log: EventLog, key_log: keylog.KeyLog | None) -> None:
    config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    (config.state_dir / FOLDER).mkdir(exist_ok=True, mode=0o700)
    server_key = read_public_key(config.policy_server_key)
    documents = Documents(config.domain, server_key)
    policy = _policy_client(config, server_key)
    if policy is not None:
        config.documents.mkdir(parents=True, exist_ok=True)
    folder = _Folder(config.documents, documents, log)
    folder()
    book = GenerationBook(config.state_dir / BOOK)
    core = DksCore(
        read_private_key(config.identity),
        documents,
        book,
        domain=config.domain,
        name=config.name,
        random=os.urandom,
        poll=folder,
        poll_list=lambda: _read_list(config.documents / REVOCATION),
        confirmed=kept(config.state_dir / FOLDER),
        log_keys=key_log is not None,
        rate=config.rate,
        burst=config.burst,
    )
    port = UdpPort(config.port, config.listen)
    fetching = asyncio.create_task(policy.run(log.write)) if policy is not None else None
    try:
        await Driver(core, port, config.state_dir, log, control=config.socket, key_log=key_log).run()
    finally:
        if fetching is not None:
            fetching.cancel()
        port.close()
        book.close()


def _policy_client(config: DksConfig, key: Ed25519PublicKey) -> PolicyClient | None:
    if config.policy_token is None:
        return None
    try:
        ask = PolicyHttp(config.policy_url, config.policy_token, config.policy_ca)
    except PolicyServerError as error:
        raise PolicyError(str(error)) from error
    return PolicyClient(ask, Places(config.documents, config.state_dir / FOLDER), config.domain, key)


def _read_list(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_OCTETS + 1)
    except FileNotFoundError:
        return None


def entry() -> None:
    """For the command line."""
    raise SystemExit(main())
