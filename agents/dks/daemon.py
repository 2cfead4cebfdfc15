"""`dks`: its command line. Runs the DKS in one process or several, or sends a command to the running one."""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from agents import __version__
from agents.dks.config import read_config
from agents.dks.confirmations_cli import show
from agents.dks.serve import serve
from agents.dks.status import as_text
from agents.dks.supervisor import Supervisor, WorkerFailed
from agents.policy.errors import PolicyError
from agents.runtime import client, harden, journal, keylog
from agents.runtime.commands import Commands
from agents.runtime.effects import Event
from agents.runtime.events import EventLog
from agents.runtime.exits import EXIT_DONE, EXIT_STATE, EXIT_USAGE
from agents.runtime.settings import ConfigError
from agents.runtime.stderr import Words, advised, tell

CONFIG = Path("/etc/router-keys/dks.toml")


def parser() -> Words:
    """All commands and their options."""
    commands = Commands("dks", "Domain Key Server", CONFIG, "Serve the domain's routers until SIGTERM.")
    question = commands.question
    question("status", "Routers, IKE SAs and groups of the running DKS.", as_json=True)
    question("metrics", "Counters in Prometheus' text format.")
    question("events", "Events as they happen, a JSON object a line, until interrupted.")
    confirmations = question("confirmations", "Confirmations of the routers.", as_json=True)
    confirmations.add_argument(
        "--export", type=Path, metavar="FOLDER", help="write ROUTER.confirmation files to this folder"
    )
    rekey = question("rekey", "Make new generations of a router's groups.")
    rekey.add_argument("words", nargs="+", metavar="ROUTER", help="the router; further words: only these interfaces")
    return commands.parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, or send a command to the running DKS. 0: ended in order; 1: refused; 2: unusable
    configuration; 3: unusable state or system, or no answer."""
    arguments = parser().parse_args(argv)
    if arguments.command == "check":
        from agents.dks.check import check  # what the running daemon does not need

        return check(arguments.config).show("dks", as_json=arguments.json)
    try:
        if arguments.command != "run":
            return _question(arguments, arguments.socket or read_config(arguments.config).socket)
        config = read_config(arguments.config)
        key_log = keylog.KeyLog(arguments.ike_log) if arguments.ike_log is not None else None
        log = EventLog(config.events, config.name, journal.from_options("dks", arguments))
    except ConfigError as error:
        tell("dks", str(error))
        return EXIT_USAGE
    harden.process()
    began = {"version": __version__, "config": arguments.config, "name": config.name, "domain": config.domain}
    folders = {"documents": config.documents, "state_dir": config.state_dir, "workers": config.workers}
    log.write(Event("began", {**began, "listen": config.listen or "any", "port": config.port, **folders}))
    try:
        if config.workers > 1:
            asyncio.run(Supervisor(arguments.config, config, log, arguments.ike_log, journal.options(arguments)).run())
        else:
            asyncio.run(serve(config, log, key_log))
    except ConfigError as error:
        tell("dks", str(error))
        return EXIT_USAGE
    except (PolicyError, sqlite3.Error, OSError, WorkerFailed) as error:
        log.write(Event("error", {"what": "fatal", "detail": str(error)}), on_stderr=True)
        tell("dks", advised(error))
        return EXIT_STATE
    else:
        log.write(Event("ended"))
    finally:
        log.close()
    return EXIT_DONE


def _question(arguments: argparse.Namespace, path: Path | None) -> int:
    if path is None:
        raise ConfigError("the configuration names no `socket`, so the running DKS cannot be asked")
    match arguments.command:
        case "events":
            return client.show_events("dks", path)
        case "confirmations":
            return show(path, as_json=arguments.json, folder=arguments.export)
        case "metrics":
            return client.show("dks", path, "metrics", lambda answer: str(answer["text"])[:-1])
        case "status":
            return client.show("dks", path, "status", None if arguments.json else as_text)
    return client.show("dks", path, " ".join(["rekey", *arguments.words]), None)


def entry() -> NoReturn:
    """For the command line."""
    from agents.runtime import stdio  # the laboratory's preloaded process calls main and needs none

    stdio.run("dks", main)
