"""`lab fault ACTION`: breaks something in the running laboratory, or mends it."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def fault(
        action: Annotated[str, typer.Argument(help="As in a timeline: power_off, link_carrier_down ...")],
        arguments: Annotated[list[str] | None, typer.Argument(help="name=value ...")] = None,
        lab: Annotated[str | None, typer.Option(help="Which laboratory, if several are up.")] = None,
    ) -> None:
        """Do one action of a timeline now, e.g.: lab fault power_off nodes=r1,r2"""
        from testbed.errors import InputError
        from testbed.faults.check import ARGUMENTS
        from testbed.faults.words import parse_fault
        from testbed.inside.running import chosen
        from testbed.setup.paths import cache_dir

        if action not in ARGUMENTS:
            raise InputError(f"there is no action {action!r}", allowed=", ".join(ARGUMENTS))
        name, args = parse_fault([action, *(arguments or [])])
        chosen(cache_dir() / "up", lab).ask("fault", action=name, args=args)
