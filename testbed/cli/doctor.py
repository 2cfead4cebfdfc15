"""`lab doctor`: lists the parts of the installation, which of them are missing, and the remedies."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def doctor(as_json: Annotated[bool, typer.Option("--json", help="machine-readable JSON")] = False) -> None:
        """List what is installed, what is missing, and the remedy. Exit code 3 when something prevents a run."""
        from testbed.setup.examine import examine

        findings = examine()
        if as_json:
            typer.echo(json.dumps([finding.__dict__ for finding in findings], indent=1))
        else:
            for finding in findings:
                mark = {"ok": "ok     ", "missing": "missing", "bad": "BAD    "}[finding.state]
                typer.echo(f"{mark}  {finding.what}: {finding.detail}")
                if finding.remedy:
                    typer.echo(f"         → {finding.remedy}")
        if any(finding.state == "bad" for finding in findings):
            raise typer.Exit(3)
