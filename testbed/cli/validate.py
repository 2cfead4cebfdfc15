"""`lab validate`: checks topologies, and names the line of each error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.cautions import OSPF
from testbed.errors import LabError, Location

if TYPE_CHECKING:
    from testbed.topology.resolved import Topology


def register(app: typer.Typer) -> None:
    @app.command()
    def validate(
        topologies: Annotated[list[str], typer.Argument(help="files, names in topologies/, or generators")],
        ospf: Annotated[str | None, typer.Option(help=OSPF)] = None,
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable JSON")] = False,
    ) -> None:
        """Check topologies. Exit code 2 when one is wrong.

        A warning names a part that will not come up although the file is valid; experiments do not wait for it.
        """
        from testbed.topology.findings import TopologyErrors
        from testbed.topology.load import examine
        from testbed.topology.rendezvous import reason

        results: list[dict[str, Any]] = []
        for spec in topologies:
            try:
                topology, cautions = examine(spec, ospf)
            except LabError as error:
                problems = error.errors if isinstance(error, TopologyErrors) else [error]
                results.append({"topology": spec, "ok": False, "errors": [_structured(each) for each in problems]})
                if not as_json:
                    typer.echo("\n".join(error.lines()), err=True)
            else:
                links = sum(segment.kind != "stub" for segment in topology.segments.values())
                warnings = [{"problem": each.problem, **_location(each.where)} for each in cautions]
                results.append(
                    {
                        "topology": spec,
                        "ok": True,
                        "routers": len(topology.routers),
                        "segments": links,
                        "rendezvous_point": topology.pim.rp if topology.pim is not None else None,
                        "rendezvous_point_why": reason(topology),
                        "warnings": warnings,
                    }
                )
                if not as_json:
                    typer.echo(_summary(spec, topology, links))
                    what = f"PIM's rendezvous point is {topology.pim.rp}" if topology.pim else "PIM does not run"
                    typer.echo(f"{spec}: {what}: {reason(topology)}")
                    for each in cautions:
                        typer.echo(each.line(), err=True)
        if as_json:
            typer.echo(json.dumps(results, indent=1))
        if not all(result["ok"] for result in results):
            raise typer.Exit(2)


def _summary(spec: str, topology: Topology, links: int) -> str:
    many = "link or LAN" if links == 1 else "links and LANs"
    text = f"{spec}: {len(topology.routers)} routers, {links} {many}, DKS at {topology.dks.router}"
    return text + (f"; {topology.description}" if topology.description else "")


def _structured(error: LabError) -> dict[str, Any]:
    where = error.where
    location = where if isinstance(where, Location) else Location(where or "")
    return {
        "problem": error.problem,
        **_location(location),
        "allowed": error.allowed,
        "next_command": error.next_command,
    }


def _location(location: Location) -> dict[str, Any]:
    return {"file": str(location.file), "line": location.line, "column": location.column}
