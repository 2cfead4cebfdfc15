"""One process of a DKS with several: started by the supervisor with its sockets, and ended with it.

Not for the command line. Knows nothing of the other workers.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import socket
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from agents.dks.config import read_config
from agents.dks.serve import serve_share
from agents.policy.errors import PolicyError
from agents.runtime import harden, journal
from agents.runtime.effects import Event
from agents.runtime.events import EventLog
from agents.runtime.exits import EXIT_DONE, EXIT_STATE, EXIT_USAGE
from agents.runtime.keylog import KeyLog
from agents.runtime.settings import ConfigError
from agents.runtime.stderr import advised, tell

_PR_SET_PDEATHSIG = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Until SIGTERM. 0: ended in order; 2: unusable configuration; 3: unusable state or system."""
    parser = argparse.ArgumentParser(prog="dks-worker", description="started by dks")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--share", required=True, help="NUMBER/OF")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--sockets", required=True)
    parser.add_argument("--control", type=Path)
    parser.add_argument("--ike-log", type=Path)
    journal.add_options(parser)
    given = parser.parse_args(argv)
    harden.process()
    if not _end_with(given.parent):
        return EXIT_DONE
    try:
        config = read_config(given.config)
        key_log = KeyLog(given.ike_log) if given.ike_log is not None else None
        log = EventLog(config.events, config.name, journal.from_options("dks", given))
    except ConfigError as error:
        tell("dks", advised(error))
        return EXIT_USAGE
    sockets = [socket.socket(fileno=int(each)) for each in given.sockets.split(",")]
    number, of = map(int, given.share.split("/"))
    try:
        asyncio.run(serve_share(config, log, key_log, share=(number, of), sockets=sockets, control=given.control))
    except (PolicyError, sqlite3.Error, OSError) as error:
        log.write(Event("error", {"what": "fatal", "detail": str(error)}), on_stderr=True)
        tell("dks", advised(error))
        return EXIT_STATE
    finally:
        log.close()
    return EXIT_DONE


def _end_with(parent: int) -> bool:
    """Get SIGTERM when the supervisor is gone (prctl(2)); False when it is gone already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() == parent


if __name__ == "__main__":
    raise SystemExit(main())
