"""`lab setup`: make what is missing now, instead of at the first run."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def setup(
        kernel: Annotated[str, typer.Option(help="virtual, uml (no kernel is built for it) or native")] = "virtual",
    ) -> None:
        """Make the Python environment, guest tree and kernel, and install what tests need, if they are missing."""
        from testbed.setup.all import make_all, make_for_models
        from testbed.setup.progress import say

        make_all(kernel)
        make_for_models()
        say("all is there")
