"""`lab clean`: end leftovers, remove what a broken setup left, and with --cache all that setup made."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def clean(
        cache: Annotated[bool, typer.Option("--cache", help="also remove what setup made, except what is in use")] = False,
    ) -> None:
        """Remove half-made artefacts; with --cache, every artefact but the Python environment in use."""
        from testbed.setup import python_env
        from testbed.setup.paths import cache_dir

        folder = cache_dir()
        doomed = list(folder.glob("*.part"))
        if cache:
            current = python_env.venv().path
            doomed = [path for path in folder.iterdir() if path not in (current, folder / "locks")] if folder.is_dir() else []
        for path in doomed:
            shutil.rmtree(path)
            typer.echo(f"removed {path}")
        if not doomed:
            typer.echo("nothing to remove")
