"""What every daemon's core is to whatever drives it: the asyncio driver of a real machine, or a simulation.

Knows nothing of sockets, of clocks, nor of any protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agents.ikev2.model import Datagram
from agents.runtime.effects import Effect, Kernel
from agents.runtime.links import LinkState
from agents.runtime.metrics import Family


class Core(Protocol):
    """What is driven: datagrams, time and interfaces in, effects out. `now`: monotonic seconds."""

    def start(self, now: float) -> None:
        """Called once, before anything else."""

    def receive(self, datagram: Datagram, now: float) -> None:
        """A datagram came."""

    def tick(self, now: float) -> None:
        """Do what is due."""

    def stop(self, now: float) -> None:
        """The agent is ended in order: keep what is to be kept."""

    def next_timer(self) -> float | None:
        """When `tick` must be called next."""

    def links(self, states: Mapping[str, LinkState], now: float) -> None:
        """The interfaces are these."""

    def enforced(self, kernel: Kernel | None, now: float) -> None:
        """A Kernel effect is in force; None: the kernel refused some of it."""

    def command(self, words: Sequence[str], now: float) -> Mapping[str, Any]:
        """Answer an administrator on this machine. CommandRefused."""

    def families(self, now: float) -> list[Family]:
        """Counters and gauges as they are now. CommandRefused."""

    def ailments(self, now: float) -> list[str]:
        """What keeps the agent from its work, a sentence each. CommandRefused."""

    def take(self) -> list[Effect]:
        """The effects since the last call."""
