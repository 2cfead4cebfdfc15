"""`lab report`: measure and draw again from records that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def report(folder: Annotated[Path, typer.Argument(help="a results folder that lab run wrote")]) -> None:
        """Compute summary, figures and report.html of a results folder anew from its records.

        What is missing, damaged or changed since the run is told, and the rest is measured. Exit code 2 when nothing
        is left to measure.
        """
        from testbed.cli.run import print_summary
        from testbed.runner.afresh import again

        print_summary(again(folder), folder)
