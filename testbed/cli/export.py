"""`lab export RUN`: writes a run in the format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def export(
        run: Annotated[Path, typer.Argument(help="a run's folder")],
        perfetto: Annotated[bool, typer.Option("--perfetto", help="a trace for ui.perfetto.dev")] = False,
        out: Annotated[Path | None, typer.Option(help="the file (run.perfetto-trace in the folder)")] = None,
    ) -> None:
        """Write a run's record as a Perfetto trace: a track for each interface, slices for adjacencies that are down
        and for generations of keys, flows between the ends of an IKE SA.

        lab export runs/power_cycle-ring-4-virtual/runs/lks-1-… --perfetto
        """
        from testbed.analysis.run import PLAN, Run
        from testbed.view.perfetto import exported
        from testbed.view.readable import readable
        from testbed.whole import put

        if not perfetto:
            raise InputError(
                "no format for the export", where=str(run), allowed="--perfetto",
                next_command=f"lab export {run} --perfetto",
            )  # fmt: skip
        if not (run / PLAN).exists():
            raise InputError(
                "no run is here", where=str(run), allowed="the folder of one run: FOLDER/runs/NAME",
                next_command="lab run power_cycle --topology ring:4 --seeds 1",
            )  # fmt: skip
        path = out if out is not None else run / "run.perfetto-trace"
        with readable(run):
            trace = exported(Run(run))
        put(path, trace)
        typer.echo(f"{path}: open it at ui.perfetto.dev")
