"""`lab vtysh NODE`: opens FRR's shell on a router of the running laboratory."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def vtysh(
        node: Annotated[str, typer.Argument(help="A router.")],
        commands: Annotated[
            list[str] | None,
            typer.Argument(metavar="[COMMAND]...", help="Run this command and leave: 'show ip route'."),
        ] = None,
        command: Annotated[list[str] | None, typer.Option("-c", help="A command to run; repeatable.")] = None,
        lab: Annotated[str | None, typer.Option(help="Which laboratory, if several are up.")] = None,
    ) -> None:
        """Open vtysh on a router, or run commands in it.

        lab vtysh r1 show ip route; several commands in quotes, or with -c. Without a terminal the lines of standard
        input are the commands: echo "show ip ospf neighbor" | lab vtysh r1. The exit code is vtysh's.
        """
        from testbed.attach.running import chosen
        from testbed.cli.shell import in_terminal, write_out
        from testbed.setup.paths import cache_dir

        running = chosen(cache_dir() / "up", lab)
        argv = ["vtysh"]
        words = commands or []
        quoted = len(words) == 1 or any(" " in word for word in words)
        asked = [*(command or ()), *(words if quoted else filter(None, [" ".join(words)]))]
        for line in asked:
            argv += ["-c", line]
        terminal = in_terminal() and not asked
        raise typer.Exit(running.run(node, argv, sink=write_out, terminal=terminal, input=not asked))
