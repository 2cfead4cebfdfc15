"""`lab docs`: builds the documents as a site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def docs(out: Annotated[Path, typer.Option(help="the site's folder")] = Path("runs/site")) -> None:
        """Build the documents as a site for a browser. A broken link is an error, and no site is built then.

        A page with the help of all commands is added. The site needs no server and no network.
        """
        from testbed import owned
        from testbed.documents import site
        from testbed.setup import python_env

        owned.free(out, "--out")
        python_env.use("docs")
        typer.echo(site.build(out))
