"""`lab validate`: is this a topology, and if not, what is wrong on which line."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from testbed.errors import LabError


def register(app: typer.Typer) -> None:
    @app.command()
    def validate(
        topologies: Annotated[list[str], typer.Argument(help="files, names in topologies/, or generators")],
        as_json: Annotated[bool, typer.Option("--json", help="for a program")] = False,
    ) -> None:
        """Check topologies; exit code 2 when one is wrong."""
        from testbed.topology.load import load
        from testbed.topology.read import TopologyErrors

        results, failed = [], False
        for spec in topologies:
            try:
                topology = load(spec)
            except LabError as error:
                failed = True
                problems = error.errors if isinstance(error, TopologyErrors) else [error]
                results.append({"topology": spec, "ok": False, "errors": [problem.lines() for problem in problems]})
                if not as_json:
                    typer.echo("\n".join(error.lines()), err=True)
            else:
                links = sum(segment.kind != "stub" for segment in topology.segments.values())
                results.append({"topology": spec, "ok": True, "routers": len(topology.routers), "segments": links})
                if not as_json:
                    typer.echo(
                        f"{spec}: {len(topology.routers)} routers, {links} links and LANs, DKS at {topology.dks.router}"
                    )
        if as_json:
            typer.echo(json.dumps(results, indent=1))
        if failed:
            raise typer.Exit(2)
