"""`policy`: the administrator's command line to the Policy Server's store.

Exit codes: 0 done; 1 what was checked is wrong; 2 bad input or usage; 3 the environment cannot do it.
Knows nothing of how documents reach routers.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from agents.ikev2.config import PostQuantum
from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import bound, edit
from agents.policy.admin_cli import app as admin_app
from agents.policy.deploy_cli import Protocols, login_name
from agents.policy.deploy_cli import app as deploy_app
from agents.policy.difference import difference
from agents.policy.document import MAX_INTERFACES, DksEntry, Issuer, plain, verify_document
from agents.policy.domain import Domain
from agents.policy.errors import PolicyError
from agents.policy.export import export_documents
from agents.policy.keys import read_private_key, read_public_key, spki
from agents.policy.names import DKS_NAME
from agents.policy.problems import problems
from agents.policy.rollout import jumps
from agents.policy.serve_cli import serve, token_app
from agents.policy.store import PolicyStore, Signer
from agents.runtime import stdio
from agents.runtime.exits import EXIT_STATE, EXIT_USAGE
from agents.runtime.storage import read_all
from agents.runtime.told import MISNAMED, empty_word, reason, tell, usage
from agents.runtime.version import version

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Which routers may be neighbours, and how.",
    rich_markup_mode=None,  # its tables cut names off where a terminal is narrow
)
router_app = typer.Typer(no_args_is_help=True, help="Routers and their keys.")
adjacency_app = typer.Typer(no_args_is_help=True, help="Which interfaces may be neighbours.")
interface_app = typer.Typer(no_args_is_help=True, help="Interfaces and their protection.")
rp_app = typer.Typer(
    no_args_is_help=True, help="Rendezvous points: unicast PIM to and from them is protected by pairs."
)
app.add_typer(router_app, name="router")
app.add_typer(adjacency_app, name="adjacency")
app.add_typer(interface_app, name="interface")
app.add_typer(deploy_app, name="deploy")
app.add_typer(admin_app, name="admin")
app.add_typer(token_app, name="token")
app.command()(serve)
app.add_typer(rp_app, name="rp")

MAX_VERSION = (1 << 63) - 1
"""What the store's database counts to."""
Version = Annotated[int, typer.Argument(min=1, max=MAX_VERSION, help="One of policy history.")]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Name = Annotated[str, typer.Argument(help="The router's name.")]
KeyFile = Annotated[Path, typer.Option("--key", help="Its public key, PEM.")]
End = Annotated[str, typer.Argument(metavar="ROUTER:INTERFACE")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"policy {version()}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    store: Annotated[Path, typer.Option(envvar="POLICY_STORE", help="The store's folder.")] = Path("policy"),
    show_version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Print version and commit."),
    ] = False,
) -> None:
    """Kept for the commands."""
    context.obj = store


@contextmanager
def _open(context: typer.Context) -> Iterator[PolicyStore]:
    store = PolicyStore(context.obj)
    try:
        yield store
    finally:
        store.close()


def _answer(as_json: bool, value: Any, lines: list[str]) -> None:
    typer.echo(json.dumps(value, indent=1, default=_json) if as_json else "\n".join(lines))


def _json(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else str(value)


def _step(context: typer.Context, as_json: bool, change: Callable[[Domain], Domain]) -> None:
    """Change the draft and show what is different."""
    with _open(context) as store:
        before = store.draft()
        after = change(before)
        store.edit(after)
        changes = difference(before, after)
        _answer(as_json, {"changes": changes}, changes)


def _end(text: str) -> tuple[str, str]:
    router, separator, interface = text.partition(":")
    if not (router and separator and interface):
        raise PolicyError(f"{text!r} is not ROUTER:INTERFACE")
    return router, interface


def _octets(path: Path) -> bytes:
    try:
        return read_all(path, pipes=True)
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}") from error


def _key(path: Path) -> bytes:
    return spki(read_public_key(path, pipes=True))


@app.command()
def init(
    context: typer.Context,
    domain: Annotated[str, typer.Argument(help="The domain's name.")],
    dks_key: Annotated[Path, typer.Option(help="The DKS's public key, PEM.")],
    dks_address: Annotated[list[str], typer.Option(help="An address of the DKS.")],
    dks_port: int = 848,
    as_json: Json = False,
) -> None:
    """Make a new store and the Policy Server's key."""
    try:
        addresses = tuple(ip_address(each) for each in dks_address)
    except ValueError as error:
        raise PolicyError(str(error)) from error
    dks = DksEntry(name=DKS_NAME, key=_key(dks_key), addresses=addresses, port=dks_port)
    store = PolicyStore.create(context.obj, Domain(name=domain, dks=dks))
    store.close()
    path = str(context.obj / "key.pub")
    _answer(as_json, {"domain": domain, "public_key": path}, [f"domain {domain}; give {path} to every router"])


@router_app.command("add")
def router_add(
    context: typer.Context,
    name: Name,
    key: KeyFile,
    room: Annotated[int, typer.Option(min=1, max=MAX_INTERFACES, help="For how many interfaces to reserve SPIs.")] = 4,
    as_json: Json = False,
) -> None:
    """Add a router, not approved yet."""
    octets = _key(key)
    _step(context, as_json, lambda domain: edit.add_router(domain, name, octets, room=room))


@router_app.command("approve")
def router_approve(context: typer.Context, name: Name, key: KeyFile, as_json: Json = False) -> None:
    """Approve a router under the key that you have checked."""
    octets = _key(key)
    _step(context, as_json, lambda domain: edit.approve_router(domain, name, octets))


@router_app.command("remove")
def router_remove(
    context: typer.Context,
    name: Name,
    explain: Annotated[bool, typer.Option("--explain", help="Change nothing: say how long it takes to work.")] = False,
    lease_left: Annotated[
        list[str] | None, typer.Option(metavar="ROUTER=SECONDS", help="What `lks status` says of a neighbour's lease.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take a router and its adjacencies out, and revoke its key."""
    if lease_left and not explain:
        raise PolicyError("--lease-left only helps to --explain; without both the router is removed")
    if explain:
        with _open(context) as store:
            domain = store.draft()
            found = bound.explain(domain, name, _leases(lease_left or [], domain))
        _answer(as_json, found, bound.as_text(found))
        return
    _step(context, as_json, lambda domain: edit.remove_router(domain, name))


def _leases(given: list[str], domain: Domain) -> dict[str, float]:
    found = {}
    for text in given:
        router, _separator, seconds = text.partition("=")
        try:
            found[router] = float(seconds)
        except ValueError as error:
            raise PolicyError(f"--lease-left {text!r} is not ROUTER=SECONDS") from error
        if not 0 <= found[router] < float("inf"):
            raise PolicyError(f"--lease-left {text!r}: seconds are 0 or more")
        if router not in domain.routers:
            raise PolicyError(f"--lease-left {text!r}: there is no router {router!r} in domain {domain.name}")
    return found


@interface_app.command("add")
def interface_add(
    context: typer.Context,
    end: End,
    address: Annotated[str, typer.Option(help="IPv4 address with prefix length.")],
    link_local: Annotated[str, typer.Option(help="IPv6 link-local address.")],
    lan: Annotated[bool, typer.Option(help="A LAN, and not a point-to-point link.")] = False,
    protocol: Annotated[list[RoutingProtocol] | None, typer.Option(help="May be given several times.")] = None,
    mode: Annotated[Mode, typer.Option()] = Mode.CLEAR,
    as_json: Json = False,
) -> None:
    """Add an interface to a router; `clear` unless said otherwise."""
    router, name = _end(end)
    try:
        ipv4 = IPv4Interface(address if "/" in address else "")
    except ValueError as error:
        raise PolicyError(f"--address is {address!r}\n  allowed: an IPv4 address with its prefix length") from error
    try:
        ipv6 = IPv6Address(link_local)
    except ValueError as error:
        raise PolicyError(f"--link-local is {link_local!r}\n  allowed: an IPv6 address") from error
    protocols = tuple(protocol or (RoutingProtocol.OSPF,))
    link = "lan" if lan else "p2p"
    _step(
        context,
        as_json,
        lambda domain: edit.add_interface(domain, router, name, ipv4, ipv6, link, protocols, mode),  # type: ignore[arg-type]
    )


@interface_app.command("mode")
def interface_mode(
    context: typer.Context,
    end: End,
    mode: Annotated[Mode, typer.Argument()],
    protocol: Protocols = None,
    as_json: Json = False,
) -> None:
    """Set an interface to clear, listen, permissive or required. For a network in service: policy deploy."""
    router, name = _end(end)
    _step(context, as_json, lambda domain: edit.set_mode(domain, router, name, mode, protocol or ()))


@app.command("issuer")
def issuer_(
    context: typer.Context,
    issuer: Annotated[
        Issuer,
        typer.Argument(
            help="lks: each router's own Local Key Server. dks: the DKS, and the Local Key Server while it is away."
        ),
    ],
    protocol: Protocols = None,
    as_json: Json = False,
) -> None:
    """Who makes the keys of all groups, or of one protocol's."""
    _step(context, as_json, lambda domain: edit.set_issuer(domain, issuer, protocol or ()))


@adjacency_app.command("allow")
def adjacency_allow(context: typer.Context, a: End, b: End, as_json: Json = False) -> None:
    """Allow two interfaces to be neighbours."""
    ends = _end(a), _end(b)
    _step(context, as_json, lambda domain: edit.allow(domain, *ends))


@adjacency_app.command("deny")
def adjacency_deny(context: typer.Context, a: End, b: End, as_json: Json = False) -> None:
    """Take an allowed adjacency back."""
    ends = _end(a), _end(b)
    _step(context, as_json, lambda domain: edit.deny(domain, *ends))


def _ipv4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise PolicyError(f"{text!r} is no IPv4 address") from error


@rp_app.command("set")
def rp_set(
    context: typer.Context,
    point: Annotated[str, typer.Argument(metavar="ROUTER[:ADDRESS]", help="The address of its loopback, as a rule.")],
    as_json: Json = False,
) -> None:
    """Make a router a rendezvous point: every PIM router gets a pair with it, and it one with each of them."""
    router, separator, text = point.partition(":")
    address = _ipv4(text) if separator else None
    _step(context, as_json, lambda domain: edit.set_point(domain, router, address))


@rp_app.command("unset")
def rp_unset(context: typer.Context, router: Name, as_json: Json = False) -> None:
    """A router is a rendezvous point no more."""
    _step(context, as_json, lambda domain: edit.unset_point(domain, router))


@rp_app.command("mode")
def rp_mode(context: typer.Context, mode: Annotated[Mode, typer.Argument()], as_json: Json = False) -> None:
    """Set unicast PIM with rendezvous points to clear, listen, permissive or required, a step at a time."""
    _step(context, as_json, lambda domain: edit.set_points_mode(domain, mode))


@rp_app.command("source")
def rp_source(
    context: typer.Context,
    router: Name,
    addresses: Annotated[list[str] | None, typer.Argument(help="None: those of its PIM interfaces.")] = None,
    as_json: Json = False,
) -> None:
    """The addresses that a router's Registers come from: those of its links with multicast sources."""
    found = [_ipv4(each) for each in addresses or []]
    _step(context, as_json, lambda domain: edit.set_sources(domain, router, found))


@app.command("post-quantum")
def post_quantum(
    context: typer.Context,
    asked: Annotated[PostQuantum | None, typer.Argument(help="Left out: say what it is.")] = None,
    as_json: Json = False,
) -> None:
    """Whether IKE has ML-KEM-768 beside X25519: required, preferred (with every peer that can; the default) or off. For
    a network in service from off to preferred, and to required once every router has that."""
    if asked is not None:
        _step(context, as_json, lambda domain: edit.set_post_quantum(domain, asked))
        return
    with _open(context) as store:
        found = store.draft().settings.post_quantum.value
    _answer(as_json, {"post_quantum": found}, [found])


@app.command()
def diff(context: typer.Context, as_json: Json = False) -> None:
    """What a commit would change, and what stands against it (exit code 1)."""
    with _open(context) as store:
        draft = store.draft()
        last = store.version
        committed = store.domain(last) if last else None
        changes = difference(committed, draft)
        wrong, sudden = problems(draft), jumps(committed, draft)
    lines = [*changes, *(f"? {each}" for each in sudden), *(f"! {each}" for each in wrong)] or ["nothing changed"]
    _answer(as_json, {"since": last, "changes": changes, "problems": wrong, "warnings": sudden}, lines)
    if wrong:
        raise typer.Exit(1)


@app.command()
def commit(
    context: typer.Context,
    message: Annotated[str, typer.Option("--message", "-m", help="Why.")],
    who: Annotated[str | None, typer.Option(help="Who; the login name by default.")] = None,
    administrator: Annotated[Path | None, typer.Option(help="Sign with this private key, not the root key.")] = None,
    delegation: Annotated[Path | None, typer.Option(help="Its delegation, of policy admin delegate.")] = None,
    as_json: Json = False,
) -> None:
    """Check the whole domain, sign every document that changed, and keep the version."""
    if (administrator is None) != (delegation is None):
        raise PolicyError("--administrator and --delegation are given both or not at all")
    signer = None
    if administrator is not None and delegation is not None:
        signer = Signer(read_private_key(administrator), _octets(delegation))
    with _open(context) as store:
        done, fresh = store.commit(who or login_name(), message, int(time.time()), signer=signer)
    lines = [f"version {done.version}: {len(fresh)} new documents", *sorted(f"  {name}" for name in fresh)]
    _answer(as_json, {**asdict(done), "documents": sorted(fresh)}, lines)


@app.command()
def rollback(context: typer.Context, version: Version, as_json: Json = False) -> None:
    """Make the draft what a version was; commit it to put it in force."""
    with _open(context) as store:
        before = store.draft()
        changes = difference(before, store.rollback(version))
    _answer(as_json, {"changes": changes}, changes or ["nothing changed"])


@app.command()
def history(context: typer.Context, as_json: Json = False) -> None:
    """Every version: when, who, why."""
    with _open(context) as store:
        found = store.history()
    lines = [f"{each.version:5}  {_utc(each.at)}  {_line(each.who)}: {_line(each.why)}" for each in found]
    _answer(as_json, [asdict(each) for each in found], lines or ["no version has been committed"])


def _line(text: str) -> str:
    """What somebody else wrote, so that it makes no lines and no colours of its own."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _utc(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))


@app.command()
def export(
    context: typer.Context,
    folder: Path,
    version: Annotated[int | None, typer.Option(min=1, max=MAX_VERSION, help="The last by default.")] = None,
    as_json: Json = False,
) -> None:
    """Write the signed documents, ROUTER.cose each, the revocation list, and the Policy Server's public key."""
    with _open(context) as store:
        routers = export_documents(store, folder, version)
    _answer(as_json, {"folder": str(folder), "routers": routers}, [f"{len(routers)} documents in {folder}"])


@app.command()
def verify(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="A document; the whole store when left out.")] = None,
    key: Annotated[Path | None, typer.Option(help="The Policy Server's public key; the store's by default.")] = None,
    domain: Annotated[str | None, typer.Option(help="The store's by default.")] = None,
    as_json: Json = False,
) -> None:
    """Verify a document, or every version in the store. Exit code 1 when something is wrong."""
    if file is None:
        with _open(context) as store:
            wrong = store.verify()
        _answer(as_json, {"ok": not wrong, "problems": wrong}, wrong or ["every version and document is as signed"])
        if wrong:
            raise typer.Exit(1)
        return
    if key is None or domain is None:
        with _open(context) as store:
            public = read_public_key(key, pipes=True) if key else store.public_key
            domain = domain or store.draft().name
    else:
        public = read_public_key(key, pipes=True)
    octets = _octets(file)
    try:
        document = verify_document(octets, public, domain=domain, wall_s=time.time())
    except PolicyError as error:
        _answer(as_json, {"ok": False, "problems": [str(error)]}, [f"{file}: {error}"])
        raise typer.Exit(1) from error
    line = f"{document.domain}/{document.router}, version {document.version}, {len(document.interfaces)} interfaces"
    _answer(as_json, {"ok": True, "document": plain(document)}, [line])


_UsageError: Any = typer.BadParameter.__mro__[2]
"""ClickException: the class that every error of usage is of, wherever typer has it from."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    sys.exit(_main(arguments))


def entry() -> NoReturn:
    """For the command line."""
    stdio.run("policy", lambda: _main(None))


def _main(arguments: list[str] | None) -> int:
    os.umask(0o077)
    wrong = empty_word(sys.argv[1:] if arguments is None else arguments)
    if wrong is not None:
        tell("policy", wrong, "policy --help")
        return EXIT_USAGE
    try:
        result = app(arguments, prog_name="policy", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.Exit as exit_:
        return exit_.exit_code
    except (PolicyError, ValidationError) as error:
        text = str(error) if isinstance(error, PolicyError) else _first(error)
        tell("policy", text)
        return EXIT_USAGE
    except OSError as error:
        tell("policy", reason(error))
        return EXIT_USAGE if isinstance(error, MISNAMED) else EXIT_STATE
    except sqlite3.Error as error:
        tell("policy", f"the store cannot be used: {error}")
        return EXIT_STATE
    except _UsageError as error:
        return usage("policy", error)


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    return f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']} (given: {found['input']!r})"
