"""`policy serve` and `policy token`: the HTTP API's process, and its users.

Knows no address of the API. FastAPI and uvicorn are imported when they are needed: the rest of `policy` works without
them.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import json
import logging
import os
import signal
import socket
import sqlite3
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agents import __version__
from agents.policy.api.tokens import Role, TokenStore
from agents.policy.desk import Delegation, Json, Yes, ask, signer_of
from agents.policy.errors import PolicyError
from agents.policy.keys import check_secret
from agents.policy.store import PolicyStore, Signer
from agents.runtime import harden, journal
from agents.runtime.control import CommandRefused
from agents.runtime.effects import Event
from agents.runtime.exits import EXIT_STATE
from agents.runtime.journal import LogFormat, LogLevel
from agents.runtime.metrics import page
from agents.runtime.metrics_http import Ailments, MetricsServer, Page
from agents.runtime.stderr import advised

if TYPE_CHECKING:
    from agents.policy.api.metrics import PolicyCounts

LOOPBACK = ("127.0.0.1", "::1", "localhost")
PORT = 8484
BACKLOG, IDLE_S = 128, 5
RENEW_EVERY_S = 6 * 3600

token_app = typer.Typer(no_args_is_help=True, help="Users of the HTTP API.")

Name = Annotated[str, typer.Argument(help="The user's name, as the history shows it.")]


def check_listening(host: str, certificate: Path | None, key: Path | None) -> None:
    """PolicyError unless it is safe to listen there: without TLS, tokens may cross the loopback only."""
    if (certificate is None) != (key is None):
        raise PolicyError("TLS needs both: --tls-cert FILE --tls-key FILE")
    if certificate is None and not _loopback(host):
        raise PolicyError(
            f"{host} is not a loopback address, and tokens would cross the network in clear; give --tls-cert and "
            "--tls-key, or listen on 127.0.0.1"
        )
    if key is not None:
        try:
            status = key.stat()
        except OSError as error:
            raise PolicyError(advised(error)) from error
        check_secret(key, status, "a private key's file")


def _check_tls(certificate: Path | None, key: Path | None) -> None:
    if certificate is not None and key is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        except ssl.SSLError as error:
            raise PolicyError(
                f"--tls-cert {certificate}, --tls-key {key}: unusable for TLS: {error.reason or error}\n  allowed: "
                "PEM of a certificate chain, and of the private key of its first certificate"
            ) from error
        except OSError as error:
            raise PolicyError(advised(error)) from error


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may be resolved to any address


def serve(
    context: typer.Context,
    listen: Annotated[str, typer.Option(help="Address; without TLS, a loopback address only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = PORT,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM, mode 0600.")] = None,
    host: Annotated[
        list[str] | None, typer.Option(help="A host name that clients use; requests for other names are rejected.")
    ] = None,
    administrator: Annotated[
        Path | None,
        typer.Option(help="Sign commits with this private key; the root key can then be on another machine."),
    ] = None,
    delegation: Delegation = None,
    renew: Annotated[bool, typer.Option("--renew/--no-renew", help="Sign documents again before they expire.")] = True,
    metrics_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port for Prometheus.")] = None,
    metrics_address: Annotated[str, typer.Option(help="Address for Prometheus.")] = "127.0.0.1",
    log_level: Annotated[LogLevel, typer.Option(help="The least level of lines on standard error.")] = LogLevel.INFO,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="The same as --log-level debug.")] = False,
    log_format: Annotated[
        LogFormat, typer.Option(help="One line for each event, as text or as JSON.")
    ] = LogFormat.TEXT,
) -> None:
    """Serve the HTTP API and its pages until SIGTERM or SIGINT, and sign documents again before they expire."""
    check_listening(listen, tls_cert, tls_key)
    _check_tls(tls_cert, tls_key)
    harden.process()
    try:
        import uvicorn

        from agents.policy.api.app import create_app
        from agents.policy.api.connections import CONNECTIONS, bounded
        from agents.policy.api.quiet import quieten
        from agents.policy.api.server import Server
    except ImportError as error:
        raise PolicyError(
            f"{error.name} is not installed; the next step is: pip install 'router-keys[server]'"
        ) from error
    names = {listen, *(host or ()), *(LOOPBACK if _loopback(listen) else ())}
    signer = signer_of(administrator, delegation)
    app = create_app(context.obj, names, signer=signer)
    log = journal.asked("policy", log_level, verbose, log_format)
    everything = verbose or log_level is LogLevel.DEBUG
    logging.basicConfig(level=logging.NOTSET if everything else logging.INFO, handlers=[journal.Handler(log)])
    quieten(logging.getLogger("uvicorn.error"))
    # uvicorn ends in an orderly way and then raises the signal again: a requested end is not an end by a signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    scheme, named = "https" if tls_cert else "http", f"[{listen}]" if ":" in listen else listen
    address = f"{scheme}://{named}:{port}"
    with closing(PolicyStore(context.obj)) as store:
        draft = store.draft()
        facts = {"domain": draft.name, "policy_version": store.version, "routers": len(draft.routers)}
    listening = _listening(listen, port)
    signs = "the root key" if signer is None else "a delegated key"
    began = {"version": __version__, "store": context.obj, "address": address, "metrics": metrics_port, "signs": signs}
    log.write(Event("began", {**began, **facts}))

    config = uvicorn.Config(
        app,
        log_config=None,
        host=listen,
        port=port,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_S,
        h11_max_incomplete_event_size=16_384,
        http=bounded(),
        ws="none",
        lifespan="off",
    )
    server = Server(config)
    if metrics_port is not None:
        server.metrics = MetricsServer(metrics_address, metrics_port, *_measured(context.obj, app.state.counts))
    with renewed(context.obj, signer, log.write) if renew else nullcontext():
        server.run(sockets=[listening])
    if not server.started:
        raise typer.Exit(EXIT_STATE)
    log.write(Event("ended"))


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. OSError, which names the user of the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        refusal = OSError(error.errno, f"TCP {host} port {port}: {os.strerror(error.errno or 0)}")
        refusal.add_note(
            "ip address show; --listen is an address of this machine"
            if error.errno != errno.EADDRINUSE
            else f"ss -tlpn 'sport = :{port}'; stop the program that uses it, or give another --port"
        )
        raise refusal from error


def _measured(folder: Path, counts: PolicyCounts) -> tuple[Page, Ailments]:
    """The source of a MetricsServer: a thread opens and reads the store."""
    from agents.policy.api.metrics import families

    async def made() -> str:
        try:
            return await asyncio.to_thread(lambda: page(families(folder, counts)))
        except (PolicyError, OSError, sqlite3.Error) as error:
            raise CommandRefused(f"the store cannot be read: {error}") from error

    def opened() -> None:
        with closing(PolicyStore(folder)):
            pass

    async def ailing() -> list[str]:
        try:
            await asyncio.to_thread(opened)
        except (PolicyError, OSError, sqlite3.Error) as error:
            return [str(error)]
        return []

    return made, ailing


@contextmanager
def renewed(folder: Path, signer: Signer | None, tell: Callable[[Event], None]) -> Iterator[None]:
    """Within the block, documents are signed again: at once, and then every few hours if any are due."""
    ended = threading.Event()

    def work() -> None:
        while True:
            renew_once(folder, signer, int(time.time()), tell)
            if ended.wait(RENEW_EVERY_S):
                return

    worker = threading.Thread(target=work, name="renewal", daemon=True)
    worker.start()
    try:
        yield
    finally:
        ended.set()
        worker.join()


def renew_once(folder: Path, signer: Signer | None, at: int, tell: Callable[[Event], None]) -> None:
    """Sign the documents that are due at the Unix time `at`, and report it, also when it is impossible."""
    try:
        with closing(PolicyStore(folder)) as store:
            if not store.version:
                return
            done = store.renew("policy serve", at, signer)
    except (PolicyError, OSError, sqlite3.Error) as error:
        tell(Event("error", {"what": "renewal", "detail": str(error)}))
        return
    if done.commit is not None:
        tell(Event("renewed", {"version": done.commit.version, "documents": len(done.routers)}))
    if done.warning is not None:
        tell(Event("error", {"what": "delegation", "detail": done.warning}))


def _tokens(context: typer.Context) -> TokenStore:
    PolicyStore(context.obj).close()
    return TokenStore(context.obj)


@token_app.command("add")
def add(
    context: typer.Context,
    name: Name,
    role: Annotated[Role, typer.Option(help="read, write, or confirm (a DKS).")],
    as_json: Json = False,
) -> None:
    """Make a token and print it; it cannot be shown again."""
    tokens = _tokens(context)
    made = tokens.add(name, role, int(time.time()))
    try:
        typer.echo(json.dumps({"name": name, "role": role.value, "token": made}) if as_json else made)
        sys.stdout.flush()
    except BaseException:  # the token was never shown, so nobody can use it
        tokens.revoke(name)
        raise


@token_app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List names and roles; tokens themselves are not stored."""
    tokens = _tokens(context).all()
    if as_json:
        typer.echo(json.dumps([{"name": t.name, "role": t.role.value, "made_at": t.made_at} for t in tokens], indent=1))
        return
    lines = [f"{t.role.value:8} {time.strftime('%Y-%m-%d', time.gmtime(t.made_at))}  {t.name}" for t in tokens]
    typer.echo("\n".join(lines) or "there are no tokens")


@token_app.command("revoke")
def revoke(context: typer.Context, name: Name, yes: Yes = False) -> None:
    """Revoke a token at once. On a terminal, asks first: the same token cannot be made again."""
    tokens = _tokens(context)
    ask(yes, f"The token {name} is revoked immediately; requests with it are rejected.")
    tokens.revoke(name)
    typer.echo(f"token {name} is revoked")
