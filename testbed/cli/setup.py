"""`lab setup`: make what is missing now, instead of at the first run."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def setup(
        kernel: Annotated[str, typer.Option(help="virtual, uml (no kernel is built for it) or native")] = "virtual",
    ) -> None:
        """Make the Python environment, the guest tree and the guest kernel, if they are missing."""
        from testbed.setup.all import make_all
        from testbed.setup.progress import say

        make_all(kernel)
        say("all is there")
