"""`policy admin`: the keys that may sign documents besides the domain's root key, and revoked ones.

Knows nothing of how documents are made.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from agents.policy import steps
from agents.policy.desk import Json, answer, opened, pem, take
from agents.policy.keys import write_public
from agents.policy.revocation import key_hash

app = typer.Typer(
    no_args_is_help=True,
    help="Administrators: keys that sign documents in the root key's name. Changes take effect when committed.",
)
DAY_S = 86400

Name = Annotated[str, typer.Argument(help="The administrator's name.")]


@app.command()
def add(
    context: typer.Context,
    name: Name,
    key: Annotated[Path, typer.Option(help="The administrator's public key, PEM; check it first.")],
    as_json: Json = False,
) -> None:
    """Add an administrator to the draft."""
    take(context, as_json, lambda: steps.AddAdministrator(name=name, key=pem(key)))


@app.command()
def revoke(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Revoke an administrator's key permanently: the commit signs a revocation list, and all documents of this
    administrator again."""
    take(context, as_json, lambda: steps.RevokeAdministrator(name=name))


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the draft's administrators, and the revoked ones."""
    with opened(context) as store:
        domain = store.draft()
    now = [{"name": each.name, "key": key_hash(each.key).hex()} for each in domain.administrators]
    gone = [{"name": each.name, "key": each.key.hex()} for each in domain.revoked_administrators]
    lines = [f"{each['name']}  {each['key'][:16]}" for each in now]
    lines += [f"{each['name']}  {each['key'][:16]}  revoked" for each in gone]
    answer(as_json, {"administrators": now, "revoked": gone}, lines or ["only the root key signs documents"])


@app.command()
def delegate(
    context: typer.Context,
    name: Name,
    out: Annotated[Path, typer.Option(help="File for the delegation.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="Validity of the delegation.")] = 365,
    as_json: Json = False,
) -> None:
    """Sign a delegation with the root key: a committed administrator may sign documents. The file is not secret."""
    with opened(context) as store:
        signed = store.delegate(name, int(time.time()), days * DAY_S)
    write_public(out, signed)
    answer(as_json, {"file": str(out), "days": days}, [f"{out}: {name} may sign for {days} days; policy commit --help"])
