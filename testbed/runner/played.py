"""How an experiment is played, whatever it is: in guests, or computed. Here the two meet, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from testbed.errors import InputError
from testbed.guest.boot import Kernel
from testbed.report.drawing import Drawing
from testbed.runner.execute import Outcome
from testbed.runner.experiment import Experiment, Question
from testbed.runner.session import InGuests, Load, Progress, Request, Session, SoFar
from testbed.runner.simulated import Computed, Simulated


class Played(Protocol):
    """One experiment, from a request to its report."""

    @property
    def kernel(self) -> Kernel | None:
        """What guests are of that have to be made first; None: it needs none."""

    @property
    def folder(self) -> Path:
        """Where the results of what was prepared go."""

    @property
    def modes(self) -> tuple[str, ...]:
        """The keying modes whose numbers come while it is played; none where they come at the end."""

    def prepare(self, request: Request, load: Load) -> None:
        """Check everything that can be wrong with a request. `load`: gives the network of a name. InputErrors."""

    def play(self, request: Request, progress: Progress, so_far: SoFar) -> Session:
        """Do what was prepared. `progress` hears of each run that ends, `so_far` before that of the table. LabError."""

    def conclude(
        self,
        outcomes: Sequence[Outcome],
        about: Mapping[str, Any],
        folder: Path,
        kept: Mapping[str, Any] | None = None,
        flaws: Sequence[InputError] = (),
        figures: Drawing | None = None,
    ) -> dict[str, Any]:
        """Summary and report of what has ended. `kept`: the provenance of records that were not made now."""


def played(question: Question) -> Played:
    """How this one is."""
    match question:
        case Experiment():
            return InGuests(question)
        case Simulated():
            return Computed(question)
    raise InputError(f"{question.name} is neither played in guests nor computed", allowed="Experiment or Simulated")
