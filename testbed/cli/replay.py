"""`lab replay`: plays a run again, and names the first difference."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from testbed.runner.replay import Replayed


def register(app: typer.Typer) -> None:
    @app.command()
    def replay(
        run: Annotated[Path, typer.Argument(help="a run's folder (in runs/), or a results folder: all its runs")],
        out: Annotated[Path | None, typer.Option(help="keep the replayed runs in this folder")] = None,
        jobs: Annotated[int | None, typer.Option(min=1, help="guests at a time; default: one a core")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable JSON")] = False,
    ) -> None:
        """Play a run in virtual time again from its plan and seed, and compare its record and captures byte by byte.

        Exit code 0 when all are identical, 1 when one differs (with the first line, time and event), 2 for bad input.
        """
        from testbed.cli.run import Progress
        from testbed.runner import replay as replaying
        from testbed.runner.execute import refuse_file
        from testbed.setup.all import make_all

        folders = replaying.runs_of(run)
        if out is not None:
            refuse_file(out)
        make_all("virtual")
        with ExitStack() as stack:
            folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-replay-")))
            done = replaying.replay(folders, folder, jobs or os.cpu_count() or 1, Progress())
            if as_json:
                typer.echo(json.dumps([_row(each) for each in done], indent=1))
            else:
                for each in done:
                    for line in lines_of(each):
                        typer.echo(line)
        if not all(each.identical for each in done):
            raise typer.Exit(1)


def lines_of(done: Replayed) -> list[str]:
    """Print the outcomes as text."""
    name = done.folder.name
    if done.identical:
        lines = [f"{name}: identical"]
    elif done.failure:
        lines = [f"{name}: could not be played again: {done.failure}"]
    else:
        lines = [f"{name}: differs"]
        lines += [f"  {line}" for each in done.differences for line in each.lines()]
    return lines + [f"  note: {note}" for note in done.notes]


def _row(done: Replayed) -> dict[str, Any]:
    return {
        "run": str(done.folder),
        "identical": done.identical,
        "failure": done.failure or None,
        "differences": [asdict(each) for each in done.differences],
        "notes": list(done.notes),
    }
