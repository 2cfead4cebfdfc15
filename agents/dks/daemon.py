"""`dks`: its command line. Runs the DKS in this process or in several, or asks the running one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from agents import __version__
from agents.dks.config import read_config
from agents.dks.confirmations_cli import show
from agents.dks.serve import BOOK, serve
from agents.dks.supervisor import Supervisor, WorkerFailed
from agents.policy.errors import PolicyError
from agents.runtime import client, harden, journal, keylog
from agents.runtime.effects import Event
from agents.runtime.events import EventLog
from agents.runtime.exits import EXIT_DONE, EXIT_STATE, EXIT_USAGE
from agents.runtime.settings import ConfigError
from agents.runtime.told import Words, reason, tell
from agents.runtime.version import Version

CONFIG = Path("/etc/router-keys/dks.toml")


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, or ask. 0: ended in order; 1: refused; 2: unusable configuration; 3: unusable state or
    system, or no answer."""
    parser = Words(prog="dks", description="Domain Key Server, or a question to the running one")
    parser.add_argument(
        "command", nargs="?", choices=("run", "status", "metrics", "events", "confirmations", "rekey"), default="run"
    )
    parser.add_argument("words", nargs="*", metavar="ROUTER [INTERFACE...]", help="rekey: whose groups")
    parser.add_argument("--config", type=Path, default=CONFIG, help=f"dks.toml ({CONFIG})")
    parser.add_argument("--socket", type=Path, help="where the running one answers (the configuration's `socket`)")
    parser.add_argument("--ike-log", type=Path, metavar="FILE", help=keylog.HELP)
    parser.add_argument("--json", action="store_true", help="confirmations: machine-readable JSON")
    parser.add_argument("--version", action=Version)
    journal.add_options(parser)
    parser.add_argument(
        "--export", type=Path, metavar="FOLDER", help="confirmations: write them there, ROUTER.confirmation each"
    )
    arguments = parser.parse_intermixed_args(argv)
    if arguments.ike_log is not None and arguments.command != "run":
        parser.error(f"{arguments.command} takes no --ike-log")
    if journal.options(arguments) and arguments.command != "run":
        parser.error(f"{arguments.command} takes no {journal.options(arguments)[0]}")
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
        log = EventLog(config.events, config.name, journal.from_options("dks", arguments))
    except ConfigError as error:
        tell("dks", str(error))
        return EXIT_USAGE
    harden.process()
    began = {"version": __version__, "config": arguments.config, "name": config.name, "domain": config.domain}
    places = {"documents": config.documents, "state_dir": config.state_dir, "workers": config.workers}
    log.write(Event("began", {**began, "listen": config.listen or "any", "port": config.port, **places}))
    try:
        if config.workers > 1:
            asyncio.run(Supervisor(arguments.config, config, log, arguments.ike_log, journal.options(arguments)).run())
        else:
            asyncio.run(serve(config, log, key_log))
    except ConfigError as error:
        tell("dks", str(error))
        return EXIT_USAGE
    except (PolicyError, sqlite3.Error, OSError, WorkerFailed) as error:
        log.write(Event("error", {"what": "fatal", "detail": str(error)}), told=True)
        book = f"{config.state_dir / BOOK}: " if isinstance(error, sqlite3.Error) else ""
        tell("dks", f"{book}{reason(error)}")
        return EXIT_STATE
    else:
        log.write(Event("ended"))
    finally:
        log.close()
    return EXIT_DONE


def _question(command: str, path: Path | None) -> int:
    if path is None:
        raise ConfigError("the configuration names no `socket`, so the running DKS cannot be asked")
    if command == "events":
        return client.show_events("dks", path)
    return client.show(
        "dks", path, command, (lambda answer: str(answer["text"])[:-1]) if command == "metrics" else None
    )


def entry() -> NoReturn:
    """For the command line."""
    from agents.runtime import stdio  # the laboratory's preloaded process calls main and needs none

    stdio.run("dks", main)
