"""`lab sbom`: writes a software bill of materials of the locks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def sbom(
        out: Annotated[Path | None, typer.Option(help="the file to write; default: standard output")] = None,
    ) -> None:
        """Write a software bill of materials (CycloneDX 1.5, JSON) of everything in the locks, with hashes."""
        from agents.runtime.storage import write_atomic
        from testbed.errors import of_file
        from testbed.setup.sbom import bill

        document = bill()
        text = json.dumps(document, indent=1) + "\n"
        if out is None:
            typer.echo(text, nl=False)
            return
        try:
            write_atomic(out, text.encode(), 0o644)
        except OSError as error:
            raise of_file(error, str(out)) from error
        typer.echo(f"{out}: {len(document['components'])} components")
