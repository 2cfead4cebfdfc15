"""`lab shell NODE`: opens a shell in a node of the running laboratory."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def shell(
        node: Annotated[str, typer.Argument(help="A router, a host, dks, or wires.")],
        command: Annotated[list[str] | None, typer.Argument(help="Run this command instead (after --).")] = None,
        lab: Annotated[str | None, typer.Option(help="Which laboratory, if several are up.")] = None,
    ) -> None:
        """Open a shell in a node, or run a command there; leave a shell with exit or Ctrl-].

        Without a terminal the lines of standard input run: echo "ip route" | lab shell r1. The exit code is that of the
        command or the shell.
        """
        from testbed.attach.running import chosen
        from testbed.setup.paths import cache_dir

        running = chosen(cache_dir() / "up", lab)
        terminal = in_terminal()
        argv = command or (["bash", "--norc", "-i"] if terminal else ["bash", "-s"])
        raise typer.Exit(running.run(node, argv, sink=write_out, terminal=terminal))


def in_terminal() -> bool:
    """True when both standard input and output are terminals."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def write_out(data: bytes) -> None:
    """Write to stdout at once."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
