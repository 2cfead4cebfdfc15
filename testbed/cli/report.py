"""`lab report`: measures and draws again from existing records."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def report(
        folder: Annotated[Path, typer.Argument(help="a results folder that lab run wrote")],
        formats: Annotated[str, typer.Option(help="formats of figures, with commas: svg (always), png, pdf")] = "svg",
    ) -> None:
        """Compute summary, figures and report.html of a results folder again from its records.

        Missing, damaged or changed files are reported, and the rest is measured. Exit code 2 when nothing is left to
        measure.
        """
        from testbed.cli.run import print_summary
        from testbed.cli.watch import kept
        from testbed.report.drawing import drawing
        from testbed.report.style import formats_of
        from testbed.runner.afresh import again
        from testbed.setup.all import KERNELS

        with drawing(formats_of(formats), os.cpu_count() or 1) as figures:
            summary = again(folder, figures)
        print_summary(summary, folder)
        if summary["kernel"] in KERNELS:
            kept(folder)
