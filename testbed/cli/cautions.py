"""Warns on stderr of what will not come up in a topology, for verbs that continue all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from testbed.topology.resolved import Topology


OSPF = "OSPF versions instead of the topology's own: 2, 3 or 2,3"
"""The help of --ospf, for verbs that load a topology."""


def loaded(spec: str, ospf: str | None = None) -> Topology:
    """The topology, with its warnings printed. Raises InputError as `load`."""
    from testbed.topology.load import examine

    topology, cautions = examine(spec, ospf)
    for each in cautions:
        typer.echo(each.line(), err=True)
    return topology
