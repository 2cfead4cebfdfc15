"""`policy admin`: who may sign documents besides the domain's root key, and whose key counts no more.

Knows nothing of how documents are made.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from agents.policy import edit
from agents.policy.difference import difference
from agents.policy.domain import Domain
from agents.policy.keys import read_public_key, spki, write_public
from agents.policy.revocation import key_hash
from agents.policy.store import PolicyStore

app = typer.Typer(
    no_args_is_help=True,
    help="Administrators: keys that sign documents in the root key's name. Changes count once committed.",
)
DAY_S = 86400

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Name = Annotated[str, typer.Argument(help="The administrator's name.")]


def _say(as_json: bool, value: Any, lines: list[str]) -> None:
    typer.echo(json.dumps(value, indent=1) if as_json else "\n".join(lines))


def _change(context: typer.Context, as_json: bool, after: Domain, store: PolicyStore) -> None:
    before = store.draft()
    store.edit(after, before)
    changes = difference(before, after)
    _say(as_json, {"changes": changes}, changes)


@app.command()
def add(
    context: typer.Context,
    name: Name,
    key: Annotated[Path, typer.Option(help="The administrator's public key, PEM, which you have checked.")],
    as_json: Json = False,
) -> None:
    """Add an administrator to the draft."""
    octets = spki(read_public_key(key, pipes=True))
    store = PolicyStore(context.obj)
    try:
        _change(context, as_json, edit.add_administrator(store.draft(), name, octets), store)
    finally:
        store.close()


@app.command()
def revoke(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Take an administrator's key back, for ever: the commit signs a revocation list, and all documents of this
    administrator anew."""
    store = PolicyStore(context.obj)
    try:
        _change(context, as_json, edit.revoke_administrator(store.draft(), name), store)
    finally:
        store.close()


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """The draft's administrators, and the revoked."""
    store = PolicyStore(context.obj)
    try:
        domain = store.draft()
    finally:
        store.close()
    now = [{"name": each.name, "key": key_hash(each.key).hex()} for each in domain.administrators]
    gone = [{"name": each.name, "key": each.key.hex()} for each in domain.revoked_administrators]
    lines = [f"{each['name']}  {each['key'][:16]}" for each in now]
    lines += [f"{each['name']}  {each['key'][:16]}  revoked" for each in gone]
    _say(as_json, {"administrators": now, "revoked": gone}, lines or ["only the root key signs documents"])


@app.command()
def delegate(
    context: typer.Context,
    name: Name,
    out: Annotated[Path, typer.Option(help="Where to write the delegation.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="For how long it is valid.")] = 365,
    as_json: Json = False,
) -> None:
    """Sign, with the root key, that a committed administrator may sign documents. The file is no secret."""
    store = PolicyStore(context.obj)
    try:
        signed = store.delegate(name, int(time.time()), days * DAY_S)
    finally:
        store.close()
    write_public(out, signed)
    _say(as_json, {"file": str(out), "days": days}, [f"{out}: {name} may sign for {days} days; policy commit --help"])
