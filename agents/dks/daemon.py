"""The DKS as a process: `dks --config dks.toml`. Exit codes: 0 ended by a signal, 2 bad configuration, 3 cannot run."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.dks.book import is_book
from agents.dks.config import DksConfig, read_config
from agents.dks.core import Documents, DomainKeyServer
from agents.policy.document import verify_document
from agents.policy.errors import PolicyError
from agents.policy.keys import read_private_key, read_public_key
from agents.runtime.asyncio_driver import Driver
from agents.runtime.clock import WallClock
from agents.runtime.events import EventLog
from agents.runtime.settings import ConfigError
from agents.runtime.storage import CorruptRecord
from agents.runtime.udp import UdpPort


def read_documents(config: DksConfig, wall_s: float) -> Documents:
    """Every ROUTER.cose of the documents folder, verified. PolicyError for one that is not sound."""
    key = read_public_key(config.policy_server_key)
    documents = {}
    for file in sorted(config.documents.glob("*.cose")):
        signed = file.read_bytes()
        try:
            document = verify_document(signed, key, domain=config.domain, router=file.stem, wall_s=wall_s)
        except PolicyError as error:
            raise PolicyError(f"{file}: {error}") from error
        documents[document.router] = (signed, document)
    return documents


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="dks", description="Domain Key Server")
    parser.add_argument("--config", type=Path, required=True, help="dks.toml")
    arguments = parser.parse_args(argv)
    try:
        config = read_config(arguments.config)
        key = read_private_key(config.identity)
        documents = read_documents(config, WallClock(config.clock)())
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        records = {file.name: file.read_bytes() for file in config.state_dir.iterdir() if is_book(file.name)}
        core = DomainKeyServer(
            config.domain, key, documents, records, random=os.urandom, rate=config.rate, burst=config.burst
        )
    except (ConfigError, PolicyError) as error:
        print(f"dks: {error}", file=sys.stderr)
        return 2
    except (CorruptRecord, OSError) as error:
        print(f"dks: {config.state_dir}: {error}", file=sys.stderr)
        return 3
    try:
        port = UdpPort(config.port, config.listen)
        log = EventLog(config.events, config.name)
        asyncio.run(Driver(core, port, config.state_dir, log).run())
    except OSError as error:
        print(f"dks: {error}", file=sys.stderr)
        return 3
    return 0


def entry() -> None:
    """The console script."""
    sys.exit(main())
