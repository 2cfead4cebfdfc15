"""`lab down`: ends running laboratories, and removes what crashed ones left behind."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def down(
        lab: Annotated[str | None, typer.Option(help="Its name; default: all laboratories of this user.")] = None,
    ) -> None:
        """End the laboratories that `lab up` started, running or crashed, and nothing else."""
        from testbed.attach.running import laboratories
        from testbed.errors import InputError
        from testbed.owned import plain_name
        from testbed.setup.paths import cache_dir

        running = laboratories(cache_dir() / "up")
        if lab is not None:
            names = ", ".join(one.name for one in running) or "none is running"
            running = [one for one in running if one.name == plain_name(lab, "--lab")]
            if not running:
                raise InputError(f"there is no laboratory {lab!r}", where="--lab", allowed=names)
        for one in running:
            was_up = one.end()
            typer.echo(f"{one.name}: {'ended' if was_up else 'was not running; its folder is removed'}")
        if not running:
            typer.echo("no laboratory is up")
