"""The Local Key Server as a process: reads its files, then runs the core on sockets and the kernel."""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from agents import __version__
from agents.ipsec.guard import NftGuard
from agents.ipsec.monitor import KernelMonitor
from agents.ipsec.reconciler import Reconciler
from agents.ipsec.xfrm import Xfrm
from agents.lks.config import LksConfig, read_config
from agents.lks.core import LksCore
from agents.lks.files import KEY_FIX, core_of, read_document, read_optional
from agents.lks.lockdown import lockdown, lockdown_unicast
from agents.lks.retained import COUNTERS, DOCUMENT, Retained
from agents.lks.status import as_text
from agents.policy.carriage import MAX_DOCUMENT
from agents.policy.delegation import signer_of
from agents.policy.document import PolicyDocument, verify_document
from agents.policy.errors import PolicyError
from agents.policy.keys import read_private_key, read_public_key, spki
from agents.policy.names import party_id
from agents.policy.revocation import MAX_OCTETS
from agents.runtime import client, harden, journal, keylog
from agents.runtime.asyncio_driver import Driver, GuardedOnce
from agents.runtime.clock import WallClock
from agents.runtime.commands import Commands
from agents.runtime.effects import Event, Kernel
from agents.runtime.events import EventLog
from agents.runtime.exits import EXIT_DONE, EXIT_STATE, EXIT_USAGE
from agents.runtime.links import snapshot
from agents.runtime.settings import ConfigError
from agents.runtime.stderr import Words, advised, tell
from agents.runtime.storage import CorruptRecord, read_all
from agents.runtime.udp import UdpPort

CONFIG = Path("/etc/router-keys/lks.toml")


def parser() -> Words:
    """All commands and their options."""
    commands = Commands(
        "lks", "Local Key Server of a router", CONFIG, "Protect this router's routing protocols until SIGTERM."
    )
    question = commands.question
    question("status", "Keys, neighbours and the next scheduled actions of the running LKS.", as_json=True)
    question("events", "Events as they happen, a JSON object a line, until interrupted.")
    rekey = question("rekey", "Make new generations of this router's groups.")
    rekey.add_argument("words", nargs="*", metavar="INTERFACE", help="only these interfaces")
    accept = question("accept", "Give the running LKS signed documents: its own, and others' to pass on.")
    accept.add_argument("words", nargs="+", metavar="FILE", help="documents, as `policy export` writes them")
    revocation = question("revocation", "Give the running LKS a signed revocation list.")
    revocation.add_argument("words", nargs=1, metavar="FILE", help="the list, as `policy export` writes it")
    return commands.parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, or send a command to the running LKS. 0: ended in order; 1: refused; 2: unusable
    configuration; 3: unusable state or system, or no answer."""
    arguments = parser().parse_args(argv)
    if arguments.command == "check":
        from agents.lks.check import check  # what the running daemon does not need

        return check(arguments.config).show("lks", as_json=arguments.json)
    try:
        if arguments.command != "run":
            return _question(arguments, arguments.socket or read_config(arguments.config).socket)
        config = read_config(arguments.config)
        key_log = keylog.KeyLog(arguments.ike_log) if arguments.ike_log is not None else None
        log = EventLog(config.events, config.name, journal.from_options("lks", arguments))
    except ConfigError as error:
        tell("lks", str(error))
        return EXIT_USAGE
    harden.process()
    began = {"version": __version__, "config": arguments.config, "router": config.name, "domain": config.domain}
    log.write(Event("began", {**began, "listen": "any", "port": config.port, "state_dir": config.state_dir}))
    try:
        asyncio.run(_run(config, log, key_log))
    except (PolicyError, CorruptRecord, OSError) as error:
        detail = advised(error)
        log.write(Event("error", {"what": "fatal", "detail": detail.partition("\n  next:")[0]}), on_stderr=True)
        tell("lks", f"{config.name}: {detail}")
        return EXIT_STATE
    else:
        log.write(Event("ended"))
    finally:
        log.close()
    return EXIT_DONE


def _question(arguments: argparse.Namespace, path: Path | None) -> int:
    if path is None:
        raise ConfigError("the configuration names no `socket`, so the running LKS cannot be asked")
    match arguments.command:
        case "events":
            return client.show_events("lks", path)
        case "status":
            return client.show("lks", path, "status", None if arguments.json else as_text)
        case "rekey":
            words = arguments.words
        case "accept":
            words = [_file(each, MAX_DOCUMENT) for each in arguments.words]
        case _:
            words = [_file(each, MAX_OCTETS) for each in arguments.words]
    return client.show("lks", path, " ".join([arguments.command, *words]), None)


def _file(name: str, most: int) -> str:
    """The octets of a named file, base64; one octet more than `most` tells the agent that the file is too long."""
    try:
        return base64.b64encode(read_all(Path(name), pipes=True)[: most + 1]).decode()
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error


async def _run(config: LksConfig, log: EventLog, key_log: keylog.KeyLog | None) -> None:
    xfrm, guard = Xfrm(), GuardedOnce(NftGuard().apply, log)
    kernel = Reconciler(xfrm, guard)
    port = UdpPort(config.port)  # first: another running LKS must keep its keys
    try:
        try:
            harden.folder(config.state_dir)
            core = core_of(config, kernel.sequence, log_keys=key_log is not None)
        except (PolicyError, CorruptRecord, OSError):
            document = _document(config)
            kernel.apply(Kernel(lockdown(document, snapshot()), (), lockdown_unicast(document)).wanted())
            log.write(Event("closed", {"detail": "no usable state: routing protocols stay closed"}))
            raise
        _doubt(config, core, log)
        driver = Driver(
            core,
            port,
            config.state_dir,
            log,
            kernel=kernel,
            watch_links=True,
            control=config.socket,
            key_log=key_log,
            timings=config.timings,
            watch=_Watch(xfrm.port, guard),
            lost=core.lost,
            routes=core.routes,
            metrics=None if config.metrics_port is None else (config.metrics_address, config.metrics_port, "lks"),
        )
        await driver.run()
    finally:
        port.close()


class _Watch(KernelMonitor):
    """The monitor; its changes make the guard check its table again."""

    def __init__(self, port: int, guard: GuardedOnce) -> None:
        super().__init__(port)
        self._guard = guard

    def changed(self) -> bool:
        """As KernelMonitor.changed."""
        changed = super().changed()
        if changed:
            self._guard.look_again()
        return changed


def _doubt(config: LksConfig, core: LksCore, log: EventLog) -> None:
    """Report problems that do not prevent the start. The key is not the document's: the DKS may have the document that
    names it. The clock is wrong, as after a power failure, or the document has expired: the lease bounds how long it
    stays in force."""
    document, now_s = core.document, WallClock(config.clock)()
    if spki(read_private_key(config.identity)) != document.identity:
        detail = f"{config.identity}: not the key that {config.name}'s document names, so every neighbour rejects it"
        log.write(Event("error", {"what": "identity", "detail": detail, "next": KEY_FIX}))
    if now_s < document.issued_at:
        detail = f"the clock says {now_s:.0f} s, and the policy was issued at {document.issued_at} s (Unix time)"
        log.write(Event("error", {"what": "clock", "detail": detail, "next": "timedatectl; chronyc tracking"}))
    if now_s >= document.expires_at:
        detail = f"policy version {document.version} has expired by this clock: in force until the lease ends"
        log.write(Event("error", {"what": "policy", "detail": detail, "next": "policy commit; policy export"}))


def _document(config: LksConfig) -> PolicyDocument | None:
    """The document, unless it is the unusable part. Where others can write files, none is trusted."""
    try:
        harden.folder(config.state_dir)
        server = read_public_key(config.policy_server_key)
        signed = read_document(config.state_dir / DOCUMENT)
        document = verify_document(signed, server, domain=config.domain, router=config.name)
        with contextlib.suppress(CorruptRecord):
            owner = party_id(config.domain, config.name).decode()
            Retained(read_optional(config.state_dir / COUNTERS), lambda _effect: None, owner=owner).acts_on(
                document.version, signer_of(signed, server, domain=config.domain)[1]
            )
        return document
    except (PolicyError, OSError):
        return None


def entry() -> NoReturn:
    """For the command line."""
    from agents.runtime import stdio  # the laboratory's preloaded process calls main and needs none

    stdio.run("lks", main)
