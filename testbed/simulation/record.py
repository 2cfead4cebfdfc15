"""An observer that keeps all events and kernels of a simulation, for tests and judges to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.runtime.effects import Effect, Event, Kernel
from testbed.simulation.simulation import Node, Simulation


@dataclass(frozen=True)
class Seen:
    """One event of one node."""

    t: float
    node: str
    kind: str
    fields: Mapping[str, Any]


class Record:
    """`faults_wanted`: whether a fault of a core is only put on record, as its daemon does, and not raised."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.events: list[Seen] = []
        self.faults_wanted = False

    def saw(self, node: Node, effect: Effect) -> None:
        """As Observer. RuntimeError for a fault that is not wanted, ValueError for what no kernel could hold."""
        now = self._simulation.now
        if isinstance(effect, Kernel):
            effect.wanted()
            node.kernels.append((now, effect))
        elif isinstance(effect, Event):
            if effect.kind == "fault" and not self.faults_wanted:
                raise RuntimeError(f"{node.name}: {dict(effect.fields)}")
            self.events.append(Seen(now, node.name, effect.kind, effect.fields))

    def seen(self, kind: str, node: str | None = None, **fields: Any) -> list[Seen]:
        """Events of this kind with these fields."""
        return [
            each
            for each in self.events
            if each.kind == kind
            and node in (None, each.node)
            and all(each.fields.get(name) == value for name, value in fields.items())
        ]
