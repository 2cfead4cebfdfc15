"""Common parts of the commands of `policy`: the open store, an answer in text or JSON, a step taken, a confirmation.

Knows no command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from agents.ipsec.protection import RoutingProtocol
from agents.policy import durations, steps
from agents.policy.difference import difference
from agents.policy.domain import Domain, field_word
from agents.policy.errors import PolicyError
from agents.policy.keys import public_pem, read_private_key, read_public_key
from agents.policy.store import PolicyStore, Signer
from agents.runtime import invalid
from agents.runtime.storage import read_all

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Name = Annotated[str, typer.Argument(help="The router's name.")]
KeyFile = Annotated[Path, typer.Option("--key", help="Its public key, PEM.")]
End = Annotated[str, typer.Argument(metavar="ROUTER:INTERFACE")]
Protocols = Annotated[
    list[RoutingProtocol] | None,
    typer.Option("--protocol", help="Only this protocol; default: all. Repeatable."),
]
Who = Annotated[str | None, typer.Option(help="The author; default: the login name.")]
Administrator = Annotated[Path | None, typer.Option(help="Sign with this private key instead of the root key.")]
Delegation = Annotated[Path | None, typer.Option(help="Its delegation, made by policy admin delegate.")]
Export = Annotated[Path | None, typer.Option("--export", help="Also write the documents to this folder.")]


@dataclass
class Batch:
    """Steps that are taken together: the domain after the steps so far, and their number."""

    domain: Domain
    taken: int = 0


_BATCH: ContextVar[Batch | None] = ContextVar("_BATCH", default=None)


@contextmanager
def opened(context: typer.Context) -> Iterator[PolicyStore]:
    """The store that `--store` names."""
    if _BATCH.get() is not None:
        raise PolicyError("the command makes no change to the draft")
    with closing(PolicyStore(context.obj)) as store:
        yield store


def answer(as_json: bool, value: Any, lines: list[str]) -> None:
    """Print it, in JSON or as lines."""
    typer.echo(json.dumps(value, indent=1, default=_json) if as_json else "\n".join(lines))


def _json(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else str(value)


@contextmanager
def together(batch: Batch) -> Iterator[None]:
    """Within the block, commands that change the draft add their steps to `batch`, and print nothing."""
    token = _BATCH.set(batch)
    try:
        yield
    finally:
        _BATCH.reset(token)


def take(context: typer.Context, as_json: bool, step: Callable[[], steps.EditStep]) -> None:
    """Take one step in the draft, and print the difference. `step` makes it; PolicyError."""
    if (batch := _BATCH.get()) is not None:
        batch.domain = made(step).apply(batch.domain)
        batch.taken += 1
        return
    with opened(context) as store:
        before = store.draft()
        after = steps.take(before, [made(step)])
        store.edit(after, before)
        changes = difference(before, after)
        answer(as_json, {"changes": changes}, changes or ["nothing changed"])


def made(step: Callable[[], steps.EditStep]) -> steps.EditStep:
    """The step; PolicyError for a value that it does not accept."""
    try:
        return step()
    except ValidationError as error:
        first = error.errors()[0]
        field = invalid.where(first)
        time = field == "seconds" or field.endswith("_s")
        name = "TIME" if field == "seconds" else field_word(field)
        raise PolicyError(invalid.lines(first, name, durations.spell if time else "{:g}".format)) from error


def end(text: str) -> steps.End:
    """ROUTER:INTERFACE."""
    router, separator, interface = text.partition(":")
    if not (router and separator and interface):
        raise PolicyError(f"{text!r} is not ROUTER:INTERFACE")
    return steps.End(router=router, interface=interface)


def pem(path: Path) -> str:
    """The public key in a file, in the form of a step."""
    return public_pem(read_public_key(path, pipes=True)).decode()


def octets(path: Path) -> bytes:
    """The text of a file. PolicyError."""
    try:
        return read_all(path, pipes=True)
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}") from error


def signer_of(administrator: Path | None, delegation: Path | None) -> Signer | None:
    """The signer instead of the root key: --administrator KEY and --delegation FILE. PolicyError."""
    if (administrator is None) != (delegation is None):
        raise PolicyError("--administrator and --delegation need each other")
    if administrator is None or delegation is None:
        return None
    return Signer(read_private_key(administrator), octets(delegation))


def seconds(option: str, text: str | None) -> int | None:
    """A given duration, in seconds."""
    try:
        return None if text is None else durations.parse(text)
    except ValueError as error:
        raise PolicyError(f"{option} is {text!r}\n  allowed: {durations.ALLOWED}") from error


def ask(yes: bool, what: str) -> None:
    """Called before an irreversible action. A user at a terminal is asked; a program has confirmed it by its
    command."""
    if yes or not sys.stdin.isatty():
        return
    if not typer.confirm(f"{what}\nGo on?", default=False, err=True):
        raise PolicyError("nothing was done\n  next:    the same command with --yes, which does not ask")
