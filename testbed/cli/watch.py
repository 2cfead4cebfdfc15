"""Pages for `lab run`, `lab up` and `lab report`: one shows running runs, one shows finished runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from testbed.errors import InputError


@contextmanager
def watched(wanted: bool, port: int, pick: Callable[[], Path | None]) -> Iterator[None]:
    """Serves the page of the laboratory that `pick` gives while the block runs, if it is wanted. EnvironmentFailure."""
    if not wanted:
        yield
        return
    from testbed.view.live import watching

    with watching(pick, port) as server:
        typer.echo(f"open {server.address} in a browser: it shows what runs", err=True)
        yield


def kept(folder: Path) -> None:
    """Write the page of a results folder beside its report, which links to it. A problem is reported, and is no
    failure."""
    from testbed.view.write import write

    if not any((folder / "runs").glob("*/plan.json")):
        return  # computed runs have no record to play
    try:
        path, _ = write([folder], None)
    except (InputError, OSError) as error:
        typer.echo(f"lab: no page of the runs: {error}", err=True)
    else:
        typer.echo(f"view    {path}")
