"""Says on stderr what of a topology will not come up, for verbs that go on all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from testbed.topology.resolved import Topology


OSPF = "2, 3 or 2,3: these versions of OSPF, and not the topology's own"
"""What --ospf says of itself, for verbs that load a topology."""


def loaded(spec: str, ospf: str | None = None) -> Topology:
    """The topology. Raises InputError as `load`."""
    from testbed.topology.load import examine

    topology, cautions = examine(spec, ospf)
    for each in cautions:
        typer.echo(each.line(), err=True)
    return topology
