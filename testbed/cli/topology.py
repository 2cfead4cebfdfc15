"""`lab topology`: list, show, draw, and the schema of what may be written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from testbed.topology.resolved import Topology

Spec = Annotated[str, typer.Argument(help="a file, a name in topologies/, or a generator such as ring:20")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="List, show and draw topologies.", no_args_is_help=True)
    app.add_typer(group, name="topology")

    @group.command("list")
    def list_() -> None:
        """The topologies at hand."""
        from testbed.topology.generate import FORMS
        from testbed.topology.load import library, load

        for name in library():
            topology = load(name)
            typer.echo(f"{name:12} {len(topology.routers):3} routers  {topology.description}")
        typer.echo("generators:  " + ", ".join(FORMS.values()))
        typer.echo("files:       .yaml of your own, .graphml and .gml of the Topology Zoo")

    @group.command()
    def show(topology: Spec, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
        """Every address, cost and delay of a topology."""
        from testbed.topology.load import load

        resolved = load(topology)
        if as_json:
            typer.echo(resolved.model_dump_json(indent=1))
        else:
            _print_tables(resolved)

    @group.command()
    def schema() -> None:
        """The JSON Schema of a topology file."""
        from testbed.topology.source import TopologySource

        typer.echo(json.dumps(TopologySource.model_json_schema(), indent=1))

    @group.command()
    def draw(
        topology: Spec, output: Annotated[Path, typer.Option("-o", "--output", help="a .svg, .png or .pdf file")]
    ) -> None:
        """A drawing: by coordinates where the topology has them, else by a layout that is always the same."""
        from testbed.topology.draw import draw as draw_topology
        from testbed.topology.load import load

        draw_topology(load(topology), output)


def _print_tables(topology: Topology) -> None:
    from rich.console import Console
    from rich.table import Table

    routers = Table("router", "loopback", "interface", "address", "segment", "cost", title=topology.name)
    for router in topology.routers.values():
        for number, interface in enumerate(router.interfaces):
            first = (router.name, str(router.loopback.ip)) if number == 0 else ("", "")
            routers.add_row(*first, interface.name, str(interface.ipv4), interface.segment, str(interface.cost))
    segments = Table("segment", "kind", "members", "delay", "loss")
    for segment in topology.segments.values():
        members = ", ".join(node for node, _ in segment.members)
        segments.add_row(segment.name, segment.kind, members, f"{segment.delay_ms:g} ms", f"{segment.loss_percent:g} %")
    console = Console()
    console.print(routers)
    console.print(segments)
    console.print(
        f"DKS {topology.dks.address} behind {topology.dks.router}; on the management network {topology.dks.management.address}"
    )
