"""`lab models`: checks the formal models and prints the results, with the number of states explored."""

from __future__ import annotations

import time
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def models(
        full: Annotated[bool, typer.Option("--full", help="larger bounds: minutes instead of seconds")] = False,
    ) -> None:
        """Check the formal models. Exit code 1 when a property is not as expected, 3 when a check cannot run."""
        from models import checks, spin
        from testbed.errors import EnvironmentFailure
        from testbed.setup.all import make_for_models

        make_for_models()
        wrong = 0
        began = time.monotonic()
        try:
            for check in checks.all_checks(full=full):
                started = time.monotonic()
                holds, states = check.run()
                right = holds is check.holds
                wrong += not right
                mark, outcome = "ok   " if right else "WRONG", "holds" if holds else "fails"
                typer.echo(f"{mark} {check.name}: {outcome}, {states} states, {time.monotonic() - started:.1f} s")
        except spin.CannotCheck as error:
            raise EnvironmentFailure(str(error), next_command="./lab setup") from error
        typer.echo(f"{wrong} not as expected, {time.monotonic() - began:.0f} s")
        if wrong:
            raise typer.Exit(1)
