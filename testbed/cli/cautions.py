"""Says on stderr what of a topology will not come up, for verbs that go on all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from testbed.topology.resolved import Topology


def loaded(spec: str, ospf: str | None = None) -> Topology:
    """The topology. Raises InputError as `load`."""
    from testbed.topology.load import examine

    topology, cautions = examine(spec, ospf)
    for each in cautions:
        typer.echo(each.line(), err=True)
    return topology
