"""`lab clean`: end leftovers, remove what a broken setup left, and with --cache all that setup made."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def clean(
        cache: Annotated[
            bool, typer.Option("--cache", help="also remove what setup made, except what is in use")
        ] = False,
    ) -> None:
        """Remove half-made artefacts; with --cache, every artefact but the Python environment in use."""
        from testbed.setup import python_env
        from testbed.setup.artefact import leftovers, remove
        from testbed.setup.paths import cache_dir

        folder = cache_dir()
        doomed = leftovers()
        if cache and folder.is_dir():
            kept = (python_env.venv().path, folder / "locks")
            doomed += [path for path in folder.iterdir() if path not in kept and path.suffix != ".part"]
        for path in doomed:
            remove(path)
            typer.echo(f"removed {path}")
        if not doomed:
            typer.echo("nothing to remove")
