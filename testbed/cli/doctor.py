"""`lab doctor`: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def doctor(as_json: Annotated[bool, typer.Option("--json", help="machine-readable JSON")] = False) -> None:
        """Say what is there and what is missing; exit code 3 when something stands in the way."""
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
