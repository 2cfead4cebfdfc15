"""`--view` of `lab run` and `lab up`: a page that shows what runs, and where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


@contextmanager
def watched(wanted: bool, port: int, pick: Callable[[], Path | None]) -> Iterator[None]:
    """The page of the laboratory that `pick` gives while the block runs, if it is wanted. EnvironmentFailure."""
    if not wanted:
        yield
        return
    from testbed.view.live import watching

    with watching(pick, port) as server:
        typer.echo(f"open {server.address} in a browser: it shows what runs", err=True)
        yield
