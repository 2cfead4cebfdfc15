"""`lab topology`: lists, shows and draws topologies, and prints the schema of a topology file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from testbed.topology.resolved import Interface, Router, Topology

Spec = Annotated[str, typer.Argument(help="a file, a name in topologies/, or a generator such as ring:20")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="List, show and draw topologies.", no_args_is_help=True)
    app.add_typer(group, name="topology")

    @group.command("list")
    def list_(as_json: Annotated[bool, typer.Option("--json", help="machine-readable JSON")] = False) -> None:
        """List the available topologies."""
        from testbed.topology.generate import FORMS, MORE
        from testbed.topology.load import library, load

        known = {name: load(name) for name in library()}
        if as_json:
            listed = [
                {"name": name, "routers": len(each.routers), "description": each.description}
                for name, each in known.items()
            ]
            typer.echo(json.dumps({"topologies": listed, "generators": list(FORMS.values())}, indent=1))
            return
        for name, topology in known.items():
            typer.echo(f"{name:12} {len(topology.routers):3} routers  {topology.description}".rstrip())
        typer.echo("generators:  " + ", ".join(FORMS.values()))
        typer.echo(f"             {MORE}")
        typer.echo("files:       .yaml of your own or of containerlab, .graphml and .gml of the Topology Zoo,")
        typer.echo("             .json of TopoHub, .xml and text of SNDlib")

    @group.command()
    def show(
        topology: Spec,
        as_json: Annotated[bool, typer.Option("--json", help="everything, as machine-readable JSON")] = False,
    ) -> None:
        """Show every address, cost and delay of a topology."""
        from testbed.topology.load import load

        resolved = load(topology)
        if as_json:
            typer.echo(resolved.model_dump_json(indent=1))
        else:
            _print_tables(resolved)

    @group.command()
    def schema() -> None:
        """Print the JSON Schema of a topology file."""
        from testbed.topology.schema import schema_text

        typer.echo(schema_text(), nl=False)

    @group.command()
    def draw(
        topology: Spec,
        out: Annotated[
            Path,
            typer.Option(
                "-o", "--out", "--output", help="a .svg, .png or .pdf file; --output is deprecated and goes in 0.3.0"
            ),
        ],
    ) -> None:
        """Draw a topology: by its coordinates, or else by a fixed layout."""
        from testbed.topology.draw import draw as draw_topology
        from testbed.topology.load import load

        draw_topology(load(topology), out)
        typer.echo(out)


def _print_tables(topology: Topology) -> None:
    from testbed.cli.console import show

    interfaces, common = _interfaces(topology)
    show(interfaces)
    if common:
        typer.echo(common)
    show(_segments(topology))
    ospf = topology.ospf
    versions = " and ".join(name for name, on in (("OSPFv2", ospf.v2), ("OSPFv3", ospf.v3)) if on)
    typer.echo(f"{versions}, hello {ospf.hello_s} s, dead {ospf.dead_s} s; domain {topology.domain}")
    if topology.pim is not None:
        typer.echo(f"PIM-SM, rendezvous point {topology.pim.rp} ({topology.pim.rp_address})")
    for host in topology.hosts.values():
        typer.echo(f"host {host.name} {host.ipv4} behind {host.gateway} on {host.segment}")
    dks = topology.dks
    typer.echo(
        f"DKS {dks.address} behind {dks.router}; on the management network {dks.management.subnet}"
        f" it is {dks.management.address}"
    )


def _interfaces(topology: Topology) -> tuple[Table, str]:
    """The table, and in words the values that all of its rows share."""
    from rich.table import Table

    rows = [
        {
            "router": f"{router.name}\n{router.loopback.ip}" if number == 0 else "",
            "interface": interface.name,
            "address": str(interface.ipv4),
            "IPv6 link-local": str(interface.ipv6_link_local),
            "segment": interface.segment,
            "MTU": str(interface.mtu),
            "cost": str(interface.cost),
            "priority": str(interface.priority) if interface.kind == "lan" else "",
            "area": _area(router, interface),
        }
        for router in topology.routers.values()
        for number, interface in enumerate(router.interfaces)
    ]
    same = [name for name in ("MTU", "cost", "priority", "area") if len({row[name] for row in rows}) == 1]
    columns = [name for name in rows[0] if name not in same]
    table = Table(title=topology.name)
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name in ("interface", "address", "IPv6 link-local"))
    for row, after in zip(rows, [*rows[1:], {"router": "none"}], strict=True):
        table.add_row(*(row[name] for name in columns), end_section=bool(after["router"]))
    words = ", ".join(f"{name} {rows[0][name]}" for name in same if rows[0][name])
    return table, f"every interface: {words}" if words else ""


def _area(router: Router, interface: Interface) -> str:
    """The area, with the unusual properties of the area or of this end."""
    kind = router.area_types.get(interface.area, "")
    notes = [*filter(None, [kind]), *(["passive"] if interface.passive and interface.kind != "stub" else [])]
    return f"{interface.area} ({', '.join(notes)})" if notes else interface.area


def _segments(topology: Topology) -> Table:
    from rich.table import Table

    table = Table()
    for name in ("segment", "kind", "members", "delay", "loss", "bandwidth"):
        table.add_column(name, overflow="fold")
    for segment in topology.segments.values():
        rate = f"{segment.bandwidth_mbps:g} Mbit/s" if segment.bandwidth_mbps else "no limit"
        members = ", ".join(node for node, _ in segment.members)
        delay, loss = f"{segment.delay_ms:g} ms", f"{segment.loss_percent:g} %"
        if segment.jitter_ms:
            delay += f" ± {segment.jitter_ms:g} ms"
        table.add_row(segment.name, segment.kind, members, delay, loss, rate)
    return table
