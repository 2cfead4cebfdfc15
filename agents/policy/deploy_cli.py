"""`policy deploy`: protection deployed, or withdrawn, step by step in a running network.

Knows nothing of how a step is decided (rollout, deploy).
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from agents.ipsec.protection import Mode
from agents.policy import confirmation_folder
from agents.policy.deploy import Deployer, Done, Held, from_folder, now
from agents.policy.desk import Export, Json, Protocols, Who, answer, opened
from agents.policy.errors import PolicyError
from agents.policy.export import export_documents
from agents.policy.store import PolicyStore

app = typer.Typer(
    no_args_is_help=True,
    help="Take interfaces step by step from clear to required and back, in service: clear, listen, permissive, "
    "required.",
)

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ROUTER|ROUTER:INTERFACE]...", help="The segments with this router or interface; default: all."
    ),
]
AtOnce = Annotated[int, typer.Option(min=1, help="The number of segments that take a step together.")]
To = Annotated[Mode, typer.Option("--to", help="The mode at the end.")]
Folder = Annotated[
    Path | None,
    typer.Option("--confirmations", help="The folder of dks confirmations --export; default: the store's own."),
]
Without = Annotated[
    list[str] | None, typer.Option(help="A router that the step does not wait for; the history needs the reason.")
]


@contextmanager
def _deployer(context: typer.Context, folder: Path | None) -> Iterator[tuple[Deployer, PolicyStore]]:
    if folder is not None and not folder.is_dir():
        raise PolicyError(f"--confirmations: {folder} is not a folder\n  next:    dks confirmations --export {folder}")
    with opened(context) as store:
        yield Deployer(store, from_folder(folder or store.folder / confirmation_folder.FOLDER)), store


def _held(as_json: bool, held: Held) -> typer.Exit:
    answer(as_json, {"held": True, "waiting_for": held.missing, "problems": held.wrong}, [str(held)])
    return typer.Exit(1)


def _done(as_json: bool, done: Done, store: PolicyStore, export: Path | None) -> None:
    if export is not None:
        export_documents(store, export)
    changes = [str(each) for each in done.step.changes]
    value = {"version": done.commit.version, "changes": changes, "documents": sorted(done.routers), "left": done.left}
    after = (
        "then: policy deploy step"
        if done.left
        else "that was the last step; policy deploy status says when it is confirmed"
    )
    answer(
        as_json,
        value,
        [f"version {done.commit.version}:", *(f"  {each}" for each in changes), f"{done.left} steps left; {after}"],
    )


def login_name() -> str:
    """The login name of the user. PolicyError for a user without one."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError) as error:
        raise PolicyError("this user has no login name\n  allowed: a name, with --who") from error


@app.command()
def plan(
    context: typer.Context,
    words: Words = None,
    to: To = Mode.REQUIRED,
    at_once: AtOnce = 1,
    protocol: Protocols = None,
    as_json: Json = False,
) -> None:
    """Show the steps, and change nothing."""
    with _deployer(context, None) as (deployer, _store):
        steps = deployer.plan(words or (), to, at_once, protocol or ())
    value = [[str(change) for change in step.changes] for step in steps]
    answer(as_json, {"steps": value}, [f"{n:4}  {'; '.join(changes)}" for n, changes in enumerate(value, 1)])


@app.command()
def start(
    context: typer.Context,
    words: Words = None,
    to: To = Mode.REQUIRED,
    at_once: AtOnce = 1,
    protocol: Protocols = None,
    confirmations: Folder = None,
    without: Without = None,
    who: Who = None,
    export: Export = None,
    as_json: Json = False,
) -> None:
    """Begin, and take the first step. Exit code 1: a router has not confirmed its present policy."""
    with _deployer(context, confirmations) as (deployer, store):
        try:
            done = deployer.start(words or (), to, at_once, who or login_name(), now(), without or (), protocol or ())
        except Held as held:
            raise _held(as_json, held) from held
        _done(as_json, done, store, export)


@app.command()
def step(
    context: typer.Context,
    confirmations: Folder = None,
    without: Without = None,
    who: Who = None,
    export: Export = None,
    as_json: Json = False,
) -> None:
    """Take the next step, if all members have confirmed the one before. Exit code 1: they have not; it names them."""
    with _deployer(context, confirmations) as (deployer, store):
        try:
            done = deployer.step(who or login_name(), now(), without or ())
        except Held as held:
            raise _held(as_json, held) from held
        if done is None:
            answer(as_json, {"done": True}, ["every segment has its mode, and all routers have confirmed it"])
            return
        _done(as_json, done, store, export)


@app.command()
def back(
    context: typer.Context,
    to: To = Mode.CLEAR,
    at_once: Annotated[int | None, typer.Option(min=1, help="Default: as before.")] = None,
    confirmations: Folder = None,
    without: Without = None,
    who: Who = None,
    export: Export = None,
    as_json: Json = False,
) -> None:
    """Reverse the deployment, the last segment first, and take the first step back. `step` continues."""
    with _deployer(context, confirmations) as (deployer, store):
        try:
            done = deployer.back(to, at_once, who or login_name(), now(), without or ())
        except Held as held:
            raise _held(as_json, held) from held
        _done(as_json, done, store, export)


@app.command()
def status(context: typer.Context, confirmations: Folder = None, as_json: Json = False) -> None:
    """Show the state of every segment, the next step, and the missing confirmations."""
    with _deployer(context, confirmations) as (deployer, _store):
        deployment = deployer.status()
    lines = []
    for each in deployment["segments"]:
        modes = sorted(set(each["modes"].values()))
        lines.append(f"{'/'.join(modes):11} {each['segment']}")
    if deployment["deployment"] is None:
        lines.append("no deployment is under way")
    else:
        which = "".join(f"{each}, " for each in deployment["deployment"]["protocols"])
        lines.append(f"{which}to {deployment['deployment']['goal']}, {deployment['left']} steps left")
        lines += [f"  next: {each}" for each in deployment["next"] or ()]
        lines += [f"  waiting: {each}" for each in deployment["waiting_for"]]
        lines += [f"  ! {each}" for each in deployment["problems"]]
    answer(as_json, deployment, lines)
