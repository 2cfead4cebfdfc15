"""The measures that most experiments take of a run in the same way: adjacencies at its end, requests at the DKS.

Knows nothing of what an experiment's main span and series mean.
"""

from __future__ import annotations

from collections.abc import Mapping

from testbed.analysis import adjacency, requests
from testbed.analysis.measures import Adjacencies, Measures
from testbed.analysis.run import Run


def measures(
    run: Run,
    main_s: float | None,
    extra: Mapping[str, float | None],
    *,
    asked_from: int | None,
    first_s: float | None = None,
    adjacencies: Adjacencies | None = None,
) -> Measures:
    """`asked_from`: the moment (ns) from which requests at the DKS count; None: they are not counted. `first_s`: those
    of the first so many seconds are counted apart. `adjacencies`: None for all of OSPF's at the end of the record."""
    return Measures(
        main_s=main_s,
        adjacencies=adjacencies or adjacency.at_end(run.plan.topology, run.events),
        dks=None if asked_from is None else requests.at_dks(run, asked_from).counts(first_s),
        extra=extra,
    )
