"""`lab view RUN`: writes a run's record as a page for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def view(
        runs: Annotated[list[Path], typer.Argument(help="a run's folder, a results folder, or two of them")],
        keying: Annotated[
            str | None, typer.Option(help="of a results folder: one keying mode, or two with a comma")
        ] = None,
        out: Annotated[Path | None, typer.Option(help="the HTML file (view.html in the first folder)")] = None,
    ) -> None:
        """Write one HTML file that plays a run: its network, a timeline, and the history of each router and link.

        The file needs no network and no server. Two runs play side by side on one cursor. A results folder shows its
        first seeds, of its last keying modes (the most protected ones) or of the given ones:

        lab view runs/recovery_storm-abilene-virtual --keying central-mgmt,lks
        """
        from testbed.cli.run import modes
        from testbed.view.write import write

        path, names = write(runs, out, modes(keying) or None)
        typer.echo(f"{path}: {' and '.join(names)}")
