"""The interface of every daemon's core to its driver: the asyncio driver of a real machine, or a simulation.

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
    """A core: datagrams, time and interfaces in, effects out. `now`: monotonic seconds."""

    def start(self, now: float) -> None:
        """Called once, before anything else."""

    def receive(self, datagram: Datagram, now: float) -> None:
        """Handle a received datagram."""

    def tick(self, now: float) -> None:
        """Do all actions that are due."""

    def stop(self, now: float) -> None:
        """The agent ends in an orderly way: retain what must be retained."""

    def next_timer(self) -> float | None:
        """The time of the next `tick`."""

    def links(self, states: Mapping[str, LinkState], now: float) -> None:
        """The interfaces are now these."""

    def enforced(self, kernel: Kernel | None, now: float) -> None:
        """A Kernel effect is in force; None: the kernel refused part of it."""

    def command(self, words: Sequence[str], now: float) -> Mapping[str, Any]:
        """Answer an administrator on this machine. CommandRefused."""

    def families(self, now: float) -> list[Family]:
        """The present counters and gauges. CommandRefused."""

    def ailments(self, now: float) -> list[str]:
        """The problems that keep the agent from its work, a sentence each. CommandRefused."""

    def take(self) -> list[Effect]:
        """The effects since the last call."""
