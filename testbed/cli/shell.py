"""`lab shell NODE`: a shell in a node of the running laboratory."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def shell(
        node: Annotated[str, typer.Argument(help="A router, a host, dks, or wires.")],
        command: Annotated[list[str] | None, typer.Argument(help="Run this instead (after --).")] = None,
        lab: Annotated[str | None, typer.Option(help="Which laboratory, if several are up.")] = None,
    ) -> None:
        """Open a shell in a node, or run a command there; leave a shell with exit or Ctrl-]."""
        from testbed.inside.running import chosen
        from testbed.setup.paths import cache_dir

        running = chosen(cache_dir() / "up", lab)
        argv = command or ["bash", "--norc", "-i"]
        code = running.run(node, argv, sink=write_out, terminal=command is None and sys.stdin.isatty())
        raise typer.Exit(code)


def write_out(data: bytes) -> None:
    """To stdout, at once."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
