"""`lab test`: runs the project's own tests, on the host and inside guests."""

from __future__ import annotations

import time
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def test(
        select: Annotated[str | None, typer.Option("-k", help="only tests whose name matches, as in pytest")] = None,
        unit: Annotated[bool, typer.Option("--unit", help="only the tests that need no guest")] = False,
        guest: Annotated[bool, typer.Option("--guest", help="only the tests that need a guest")] = False,
    ) -> None:
        """Run the tests. The last line sums all of them up, in pytest's words."""
        from testbed import testing
        from testbed.errors import InputError
        from testbed.setup import python_env
        from testbed.setup.all import make_all, make_for_models, make_for_pages

        if unit and guest:
            raise InputError(
                "--unit and --guest together leave no test", allowed="one of them, or neither for all tests"
            )
        started = time.monotonic()
        python_env.use(*python_env.FOR_TESTS)
        if not unit:
            make_all("virtual", tests=True)
        if unit or not guest:
            make_for_models()
            make_for_pages()
        totals = testing.run(testing.jobs(unit=unit or not guest, guest=guest or not unit), select)
        typer.echo(totals.line(time.monotonic() - started))
        if not totals.ok:
            raise typer.Exit(1)
