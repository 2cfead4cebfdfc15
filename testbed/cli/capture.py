"""`lab capture LINK`: the packets on a wire of the running laboratory, as text or into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def capture(
        link: Annotated[str, typer.Argument(help="An interface (r1-eth0) or a segment (r1--r2).")],
        write: Annotated[Path | None, typer.Option("-w", help="Write a pcap file instead.")] = None,
        count: Annotated[int | None, typer.Option("-c", help="Stop after so many packets.")] = None,
        filter: Annotated[list[str] | None, typer.Argument(help="tcpdump's filter (after --).")] = None,
        lab: Annotated[str | None, typer.Option(help="Which laboratory, if several are up.")] = None,
    ) -> None:
        """Show what passes, until Ctrl-C. A segment is heard at its first interface."""
        from testbed.cli.shell import write_out
        from testbed.errors import InputError
        from testbed.inside.running import chosen
        from testbed.setup.paths import cache_dir

        running = chosen(cache_dir() / "up", lab)
        status = running.ask("status")
        interface = link
        if link in status["segments"]:
            interface = status["segments"][link][0]
        if interface not in status["interfaces"]:
            raise InputError(
                f"there is no interface or segment {link!r}",
                allowed=", ".join([*status["segments"], *status["interfaces"]]),
            )
        argv = ["tcpdump", "-n", "-i", status["interfaces"][interface]]
        argv += ["-U", "-w", "-"] if write else ["-l"]
        if count is not None:
            argv += ["-c", str(count)]
        argv += filter or []
        try:
            if write is None:
                code = running.run("wires", argv, sink=write_out)
            else:
                with open(write, "wb", buffering=0) as file:
                    code = running.run("wires", ["sh", "-c", 'exec "$@" 2>/dev/null', "sh", *argv], sink=file.write)
        except KeyboardInterrupt:
            code = 0
        raise typer.Exit(code)
