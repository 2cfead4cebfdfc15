"""How an experiment is played, whatever its kind: in guests, or computed. Only here do the two meet."""

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
        """The kind of guest that must be made first; None: it needs none."""

    @property
    def folder(self) -> Path:
        """The folder of the results."""

    @property
    def modes(self) -> tuple[str, ...]:
        """The keying modes whose numbers come while it is played; none if they come at the end."""

    def prepare(self, request: Request, load: Load) -> None:
        """Check everything that can be wrong with a request. `load`: gives the network of a name. InputErrors."""

    def play(self, request: Request, progress: Progress, so_far: SoFar) -> Session:
        """Play the prepared request. `progress` is called with each finished run, and `so_far` before it with the
        table. LabError."""

    def conclude(
        self,
        outcomes: Sequence[Outcome],
        about: Mapping[str, Any],
        folder: Path,
        kept: Mapping[str, Any] | None = None,
        flaws: Sequence[InputError] = (),
        figures: Drawing | None = None,
    ) -> dict[str, Any]:
        """Summary and report of the finished runs. `kept`: the provenance of records that were not made now."""


def played(question: Question) -> Played:
    """How this one is."""
    match question:
        case Experiment():
            return InGuests(question)
        case Simulated():
            return Computed(question)
    raise InputError(f"{question.name} is neither played in guests nor computed", allowed="Experiment or Simulated")
