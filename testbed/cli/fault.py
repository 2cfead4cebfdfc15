"""`lab fault ACTION`: performs a fault in the running laboratory, or heals it."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def fault(
        action: Annotated[str, typer.Argument(help="An action of a timeline: power_off, link_carrier_down, …")],
        arguments: Annotated[list[str] | None, typer.Argument(help="name=value ...")] = None,
        lab: Annotated[str | None, typer.Option(help="Which laboratory, if several are up.")] = None,
    ) -> None:
        """Perform one action of a timeline now, completely or not at all. Example: lab fault power_off nodes=r1,r2

        Lists have commas (groups of a partition: r1,r2/r3). Numbers may have units (delay_ms=0.2s, rate_mbps=64kbps,
        rate_mbps=none). When there is nothing to do (a link that is up already), the command says so, with exit code 0.
        Exit code 2 for an action that cannot be done; nothing has changed then.
        """
        from testbed.attach.running import chosen
        from testbed.faults.command_line import parse_fault
        from testbed.setup.paths import cache_dir

        step = parse_fault([action, *(arguments or [])])
        args = step.model_dump(mode="json")["args"]
        answer = chosen(cache_dir() / "up", lab).ask("fault", action=step.action, args=args)
        if answer.get("nothing"):
            typer.echo(f"nothing to do: {answer['nothing']}")
        elif came := answer.get("deploy"):
            typer.echo("; ".join([came["result"], *came.get("waiting", ())]))
