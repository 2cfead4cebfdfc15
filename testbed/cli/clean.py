"""`lab clean`: ends leftovers and removes half-made artefacts, and with --cache everything that setup made."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def clean(
        cache: Annotated[
            bool, typer.Option("--cache", help="also remove everything that setup made, except artefacts in use")
        ] = False,
    ) -> None:
        """Remove half-made artefacts; with --cache, every artefact but the Python environment in use.

        Only folders with the laboratory's mark are removed, whatever LAB_CACHE names.
        """
        from testbed.owned import is_own
        from testbed.setup import python_env
        from testbed.setup.artefact import leftovers, remove, unused
        from testbed.setup.paths import cache_dir

        folder, anything, others = cache_dir(), False, 0
        for path in leftovers():
            remove(path)
            typer.echo(f"removed {path}")
            anything = True
        kept = {python_env.venv().path.name, "locks", "up"}
        for path in sorted(folder.iterdir()) if cache and folder.is_dir() else ():
            if path.name in kept or path.suffix == ".part":
                continue
            if not is_own(path):
                others += 1
                continue
            anything = True
            with unused(path.name) as free:
                if free:
                    remove(path)
                typer.echo(f"{'removed' if free else 'in use, kept:'} {path}")
        if not anything:
            typer.echo("nothing to remove")
        if others:
            typer.echo(f"kept, without the laboratory's mark: {others} in {folder}")
