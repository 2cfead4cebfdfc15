"""A script: every line that a person types for one task, with its secrets and the decisions behind it; and its counts.

Knows nothing of what the lines mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

DESK = "the administrator's desk"


@dataclass(frozen=True, slots=True)
class Line:
    """`on`: the machine it is typed at. `secrets`: names of those that stand in it or that it shows; `decisions`: what
    somebody had to choose for it and no drawing of the network says."""

    on: str
    text: str
    secrets: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Script:
    """The lines of a task in order, in rounds: a round begins when all machines have done with the one before."""

    rounds: tuple[tuple[Line, ...], ...] = field(default=())

    @classmethod
    def of(cls, *rounds: Iterable[Line]) -> Script:
        """From the lines of each round; rounds without any are left out."""
        return cls(tuple(lines for each in rounds if (lines := tuple(each))))

    @property
    def lines(self) -> tuple[Line, ...]:
        """All of them."""
        return tuple(line for each in self.rounds for line in each)


def counts(script: Script) -> dict[str, int]:
    """`commands`: lines; `machines`: at which something is typed; `secrets`: different ones that a person handles, and
    `entries`: how often one is typed, carried or read; `decisions`; `rounds`."""
    lines = script.lines
    return {
        "commands": len(lines),
        "machines": len({line.on for line in lines}),
        "secrets": len({each for line in lines for each in line.secrets}),
        "entries": sum(len(line.secrets) for line in lines),
        "decisions": len({each for line in lines for each in line.decisions}),
        "rounds": len(script.rounds),
    }
