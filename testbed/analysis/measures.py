"""What is measured of one run: a span of time, adjacencies, requests at the DKS, and whatever else by name.

What the span is from and to, and what counts as an adjacency, an experiment's class says; headings come from there.
Knows nothing of experiments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Adjacencies:
    """Directions of adjacencies: how many there are to be, and how many are up at the end."""

    expected: int
    restored: int


@dataclass(frozen=True)
class RequestCounts:
    """What was counted at the DKS; None: this was not. `first_60s`: in the first minute after the power returned."""

    total: int | None = None
    unique: int | None = None
    before_schedule: int | None = None
    peak_per_s: int | None = None
    first_60s: int | None = None


@dataclass(frozen=True)
class Measures:
    """`main_s`: how long the experiment's main span took, in seconds; None: it did not end. `adjacencies`, `dks`: None
    where an experiment has none. Series in `extra` are numbers by name: a name with " to " in it and ", s" at its
    end is of spans, which may be None as the main one; what was not measured is left out."""

    main_s: float | None
    adjacencies: Adjacencies | None = None
    dks: RequestCounts | None = None
    extra: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def asked(self) -> RequestCounts:
        """What was counted at the DKS, if anything was."""
        return self.dks or RequestCounts()


def total(runs: Iterable[Measures]) -> Adjacencies:
    """The adjacencies of several runs, added."""
    counted = [run.adjacencies for run in runs if run.adjacencies is not None]
    return Adjacencies(sum(each.expected for each in counted), sum(each.restored for each in counted))
