"""`lab vtysh NODE`: FRR's shell on a router of the running laboratory."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def vtysh(
        node: Annotated[str, typer.Argument(help="A router.")],
        command: Annotated[list[str] | None, typer.Option("-c", help="Run this and leave; repeatable.")] = None,
        lab: Annotated[str | None, typer.Option(help="Which laboratory, if several are up.")] = None,
    ) -> None:
        """Open vtysh on a router, or run commands in it."""
        from testbed.cli.shell import write_out
        from testbed.inside.running import chosen
        from testbed.setup.paths import cache_dir

        running = chosen(cache_dir() / "up", lab)
        argv = ["vtysh"]
        for line in command or ():
            argv += ["-c", line]
        code = running.run(node, argv, sink=write_out, terminal=not command and sys.stdin.isatty())
        raise typer.Exit(code)
