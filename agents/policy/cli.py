"""`policy`: the administrator's command line to the Policy Server's store.

Exit codes: 0 done; 1 what was checked is wrong; 2 bad input or usage; 3 the environment cannot do it.
Knows nothing of how documents reach routers.
"""

from __future__ import annotations

import math
import os
import shlex
import sqlite3
import sys
import time
from dataclasses import asdict
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from agents.look import visible
from agents.policy import steps
from agents.policy.admin_cli import app as admin_app
from agents.policy.check import check as checked
from agents.policy.cose import signs
from agents.policy.deploy_cli import app as deploy_app
from agents.policy.deploy_cli import login_name
from agents.policy.desk import (
    Administrator,
    Batch,
    Delegation,
    Export,
    Json,
    Who,
    Yes,
    answer,
    ask,
    octets,
    opened,
    signer_of,
    together,
)
from agents.policy.difference import difference, dks_text
from agents.policy.document import DksEntry, verify_document
from agents.policy.domain import CARRIES, Domain, Settings
from agents.policy.edit_cli import adjacency_app, group_app, interface_app, router_app, rp_app, settings_lines
from agents.policy.errors import PolicyError, UnusableStore
from agents.policy.exact import plain
from agents.policy.export import export_documents
from agents.policy.keys import read_public_key, spki
from agents.policy.names import DKS_NAME
from agents.policy.problems import problems
from agents.policy.revocation import LABEL, RevocationList, key_hash, verify_list
from agents.policy.rollout import jumps
from agents.policy.serve_cli import serve, token_app
from agents.policy.set_cli import app as set_app
from agents.policy.set_cli import issuer_, post_quantum, unset
from agents.policy.store import PolicyStore
from agents.runtime import invalid, stdio
from agents.runtime.exits import EXIT_STATE, EXIT_USAGE
from agents.runtime.stderr import MISNAMED, advised, tell, usage, wrong_word
from agents.runtime.version import version

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Which routers may be neighbours, and with what protection.",
    rich_markup_mode=None,  # rich's tables truncate names on a narrow terminal
)
app.add_typer(router_app, name="router")
app.add_typer(adjacency_app, name="adjacency")
app.add_typer(interface_app, name="interface")
app.add_typer(deploy_app, name="deploy")
app.add_typer(admin_app, name="admin")
app.add_typer(token_app, name="token")
app.command()(serve)
app.add_typer(rp_app, name="rp")
app.add_typer(group_app, name="group")
app.add_typer(set_app, name="set")
app.command()(unset)
for name, verb in (("issuer", issuer_), ("post-quantum", post_quantum)):  # as before 0.2.0
    app.command(name, hidden=True, deprecated=True)(verb)

STORE = Path("/var/lib/router-keys/policy")

MAX_VERSION = (1 << 63) - 1
"""The highest version number of the store's database."""
Version = Annotated[int, typer.Argument(min=1, max=MAX_VERSION, help="A version of policy history.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"policy {version()}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    store: Annotated[Path, typer.Option(envvar="POLICY_STORE", help="The store's folder.")] = STORE,
    show_version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Print version and commit."),
    ] = False,
) -> None:
    """Keep the options for the commands."""
    context.obj = store


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
    dks = DksEntry(name=DKS_NAME, key=spki(read_public_key(dks_key, pipes=True)), addresses=addresses, port=dks_port)
    store = PolicyStore.create(context.obj, Domain(name=domain, dks=dks, settings=Settings(carries=CARRIES)))
    store.close()
    path = str(context.obj / "key.pub")
    answer(as_json, {"domain": domain, "public_key": path}, [f"domain {domain}; give {path} to every router"])


@app.command()
def show(context: typer.Context, as_json: Json = False) -> None:
    """Show a summary of the draft: the DKS, the settings of all routers, groups, and counts."""
    with opened(context) as store:
        domain, last = store.draft(), store.version
        changes = difference(store.domain(last) if last else None, domain)
    value = {
        "domain": domain.name,
        "version": last,
        "changed": bool(changes),
        "dks": {
            "key": key_hash(domain.dks.key).hex(),
            "addresses": [str(each) for each in domain.dks.addresses],
            "port": domain.dks.port,
        },
        "settings": domain.settings.model_dump(mode="json"),
        "groups": [each.name for each in domain.groups],
        "routers": len(domain.routers),
        "approved": sum(each.approved for each in domain.routers.values()),
        "adjacencies": len(domain.adjacencies),
        "administrators": [each.name for each in domain.administrators],
        "revoked": len(domain.revoked_routers) + len(domain.revoked_administrators),
    }
    lines = [
        f"domain {domain.name}, version {last}" + (", with uncommitted changes" if changes else ""),
        f"DKS at {dks_text(domain)}",
        f"{value['routers']} routers, {value['approved']} of them approved; {value['adjacencies']} adjacencies; "
        f"{len(domain.groups)} groups; {len(domain.administrators)} administrators; {value['revoked']} keys revoked",
        *settings_lines(domain.settings),
    ]
    answer(as_json, value, lines)


@app.command()
def apply(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Commands that change the draft, one a line, without `policy`.")],
    as_json: Json = False,
) -> None:
    """Take many steps at once, all or none: each line is a command without `policy`; # begins a comment."""
    with opened(context) as store:
        before = store.draft()
        batch = Batch(before)
        with together(batch):
            for number, line in enumerate(octets(file).decode(errors="replace").splitlines(), 1):
                _line_of(file, number, line, batch)
        steps.check(before, batch.domain)
        store.edit(batch.domain, before)
    changes = difference(before, batch.domain)
    answer(as_json, {"steps": batch.taken, "changes": changes}, [f"{batch.taken} steps", *changes])


def _line_of(file: Path, number: int, line: str, batch: Batch) -> None:
    """Take the step of one line. PolicyError, which names the line."""
    where, before = f"{file}:{number}", batch.taken
    try:
        words = shlex.split(line, comments=True)
        if not words:
            return
        if words[0] in _EDITING:
            _command().main(words, prog_name="policy", standalone_mode=False)
    except (PolicyError, ValueError, OSError) as error:
        raise PolicyError(f"{where}: {error}") from error
    except _UsageError as error:
        problem, known = invalid.of_usage(error)
        raise PolicyError(f"{where}: {problem}" + (f"\n  allowed: {known}" if known else "")) from error
    if batch.taken == before:
        allowed = f"the commands of {', '.join(_EDITING)} that change the draft"
        raise PolicyError(f"{where}: {line.strip()!r} is not a command that changes the draft\n  allowed: {allowed}")


_EDITING = ("router", "interface", "adjacency", "group", "rp", "admin", "set", "unset")


@app.command()
def diff(context: typer.Context, as_json: Json = False) -> None:
    """Show what a commit would change, and the problems that prevent it (exit code 1)."""
    with opened(context) as store:
        draft = store.draft()
        last = store.version
        committed = store.domain(last) if last else None
        changes = difference(committed, draft)
        wrong, sudden = problems(draft), [*jumps(committed, draft), *store.unlisted_warnings()]
    lines = [*changes, *(f"? {each}" for each in sudden), *(f"! {each}" for each in wrong)] or ["nothing changed"]
    answer(as_json, {"since": last, "changes": changes, "problems": wrong, "warnings": sudden}, lines)
    if wrong:
        raise typer.Exit(1)


@app.command()
def commit(
    context: typer.Context,
    message: Annotated[str, typer.Option("--message", "-m", help="Why.")],
    who: Who = None,
    administrator: Administrator = None,
    delegation: Delegation = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Check the whole domain, sign every document that changed, and keep the version. On a terminal, asks first if keys
    would be revoked permanently."""
    signer = signer_of(administrator, delegation)
    with opened(context) as store:
        draft = store.draft()
        changes = difference(store.domain(store.version) if store.version else None, draft)
        if gone := [each for each in changes if each.startswith("- key of ")]:
            ask(yes, "\n".join(("This commit revokes:", *gone)))
        done, fresh = store.commit(who or login_name(), message, int(time.time()), signer=signer)
        waiting = store.unlisted_warnings()
    lines = [f"version {done.version}: {len(fresh)} new documents", *sorted(f"  {name}" for name in fresh)]
    value = {**asdict(done), "documents": sorted(fresh), "warnings": waiting}
    answer(as_json, value, [*lines, *(f"? {each}" for each in waiting)])


@app.command()
def check(context: typer.Context, as_json: Json = False) -> None:
    """Check that the store can be used, and list what expires soon, with remedies; changes nothing."""
    raise typer.Exit(checked(context.obj, time.time()).show("policy", as_json=as_json))


@app.command()
def renew(
    context: typer.Context,
    who: Who = None,
    administrator: Administrator = None,
    delegation: Delegation = None,
    export: Export = None,
    as_json: Json = False,
) -> None:
    """Sign documents again that expire soon, with the same content; the draft stays. For a daily timer; policy serve
    does it by itself."""
    with opened(context) as store:
        done = store.renew(who or login_name(), int(time.time()), signer_of(administrator, delegation))
        if export is not None:
            export_documents(store, export)
    value = {
        "version": None if done.commit is None else done.commit.version,
        "documents": sorted(done.routers),
        "next_at": None if done.commit is not None or done.next_at == math.inf else int(done.next_at),
        "warning": done.warning,
    }
    if done.commit is not None:
        lines = [f"version {done.commit.version}: {len(done.routers)} documents signed again"]
    else:
        lines = ["nothing is due" + (f" before {_utc(int(done.next_at))}" if done.next_at < math.inf else "")]
    answer(as_json, value, [*lines, *([] if done.warning is None else [f"? {done.warning}"])])


@app.command()
def rollback(context: typer.Context, version: Version, yes: Yes = False, as_json: Json = False) -> None:
    """Replace the draft with a version; commit it to put it in force. On a terminal, asks first if uncommitted changes
    would be lost."""
    with opened(context) as store:
        before = store.draft()
        lost = difference(store.domain(store.version), before) if store.version else []
        if lost:
            ask(yes, "\n".join(("The draft has uncommitted changes, which would be lost:", *lost)))
        changes = difference(before, store.rollback(version))
    answer(as_json, {"changes": changes}, changes or ["nothing changed"])


@app.command()
def history(context: typer.Context, as_json: Json = False) -> None:
    """List every version with time, author and reason."""
    with opened(context) as store:
        commits = store.history()
    lines = [f"{each.version:5}  {_utc(each.at)}  {visible(each.who)}: {visible(each.why)}" for each in commits]
    answer(as_json, [asdict(each) for each in commits], lines or ["no version has been committed"])


def _utc(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))


@app.command()
def export(
    context: typer.Context,
    folder: Path,
    version: Annotated[int | None, typer.Option(min=1, max=MAX_VERSION, help="Default: the last.")] = None,
    as_json: Json = False,
) -> None:
    """Write the signed documents, ROUTER.cose each, the revocation list, and the Policy Server's public key."""
    with opened(context) as store:
        routers = export_documents(store, folder, version)
    answer(as_json, {"folder": str(folder), "routers": routers}, [f"{len(routers)} documents in {folder}"])


@app.command()
def verify(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="A document or a revocation list; default: the whole store.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The Policy Server's public key; the store's by default.")] = None,
    domain: Annotated[str | None, typer.Option(help="The store's by default.")] = None,
    as_json: Json = False,
) -> None:
    """Verify a document, a revocation list, or every version in the store. Exit code 1 when one is invalid."""
    if file is None:
        with opened(context) as store:
            wrong = store.verify()
        answer(as_json, {"ok": not wrong, "problems": wrong}, wrong or ["every version and document is as signed"])
        if wrong:
            raise typer.Exit(1)
        return
    if key is None or domain is None:
        with opened(context) as store:
            public = read_public_key(key, pipes=True) if key else store.public_key
            domain = domain or store.draft().name
    else:
        public = read_public_key(key, pipes=True)
    signed = octets(file)
    try:
        if signs(LABEL, signed):
            _show_list(verify_list(signed, public, domain=domain), as_json=as_json)
            return
        document = verify_document(signed, public, domain=domain, wall_s=time.time())
        if document.expires_at <= time.time():
            ended = f"{_utc(document.expires_at)}\n  next:    policy renew"
            raise PolicyError(f"the document of version {document.version} expired: it was valid until {ended}")
    except PolicyError as error:
        answer(as_json, {"ok": False, "problems": [str(error)]}, [f"{file}: {error}"])
        raise typer.Exit(1) from error
    line = f"{document.domain}/{document.router}, version {document.version}, {len(document.interfaces)} interfaces"
    answer(as_json, {"ok": True, "document": plain(document)}, [line])


def _show_list(revoked: RevocationList, *, as_json: bool) -> None:
    line = (
        f"revocation list of {revoked.domain}, version {revoked.version}: {len(revoked.routers)} routers, "
        f"{len(revoked.administrators)} administrators"
    )
    answer(as_json, {"ok": True, "revocation": plain(revoked)}, [line])


_UsageError: Any = typer.BadParameter.__mro__[2]
"""ClickException: the base class of usage errors, from whichever package typer has it."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    sys.exit(_main(arguments))


def entry() -> NoReturn:
    """For the command line."""
    stdio.run("policy", lambda: _main(None))


@cache
def _command() -> Any:
    """All commands, put together once."""
    return typer.main.get_command(app)


def _main(arguments: list[str] | None) -> int:
    os.umask(0o077)
    wrong = wrong_word(sys.argv[1:] if arguments is None else arguments)
    if wrong is not None:
        tell("policy", wrong, "policy --help")
        return EXIT_USAGE
    try:
        result = _command().main(arguments, prog_name="policy", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.Exit as exit_:
        return exit_.exit_code
    except UnusableStore as error:
        tell("policy", str(error))
        return EXIT_STATE
    except (PolicyError, ValidationError) as error:
        text = str(error) if isinstance(error, PolicyError) else _first(error)
        tell("policy", text)
        return EXIT_USAGE
    except OSError as error:
        tell("policy", advised(error))
        return EXIT_USAGE if isinstance(error, MISNAMED) else EXIT_STATE
    except sqlite3.Error as error:
        tell("policy", f"the store cannot be used: {error}", "policy check")
        return EXIT_STATE
    except _UsageError as error:
        return usage("policy", error)


def _first(error: ValidationError) -> str:
    return invalid.lines(error.errors()[0])
