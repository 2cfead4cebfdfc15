"""What an agent's core asks of the world: values, given in the order in which they must be done.

A core never opens a file or a socket. It notes what is to be done as it comes to it, and `in_order` gives it in ORDER,
each kind as it was noted. Whoever drives it executes these one after the other and goes on only when one is done: what
is to be kept is on the disk before the kernel or a datagram depends on it. Knows nothing of who executes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agents.ikev2.model import PeerAddress
from agents.ipsec.model import Wanted
from agents.ipsec.plan import wanted_state
from agents.ipsec.protection import GroupSa, ProtectedInterface
from agents.ipsec.unicast import NONE, Unicast, with_unicast


@dataclass(frozen=True, slots=True)
class Persist:
    """Have this file in the state folder, whole and synced, before anything that follows. `binding`: nothing that
    follows may be done without it; else it is only written later when the disk refuses it."""

    name: str
    data: bytes = field(repr=False)
    binding: bool = True


@dataclass(frozen=True, slots=True)
class Kernel:
    """Have exactly this protection in the kernel. `at`: when it was asked for, in seconds of the SAs' ends."""

    interfaces: tuple[ProtectedInterface, ...]
    sas: tuple[GroupSa, ...]
    unicast: Unicast = NONE
    at: float = field(default=0.0, compare=False)

    def wanted(self, now: float | None = None) -> Wanted:
        """The policies and SAs that it comes to, with lifetimes as from `now`. ValueError for what no kernel could
        hold."""
        now = self.at if now is None else now
        return with_unicast(wanted_state(self.interfaces, self.sas, now), self.unicast, now)

    def within(self, covered: Kernel | None) -> Kernel:
        """Of this no group's key and no policy that `covered` has not: keys go, and none comes. Fail-closed policies
        alone where nothing is covered. Pairs keep their own: their keys rest on no file."""
        if covered is None:
            return replace(self, sas=())
        known = {_key_of(each) for each in covered.sas}
        return replace(self, interfaces=covered.interfaces, sas=tuple(sa for sa in self.sas if _key_of(sa) in known))


def _key_of(sa: GroupSa) -> tuple[object, ...]:
    return sa.interface, sa.destination, sa.spi, sa.outbound, sa.keymat


@dataclass(frozen=True, slots=True)
class Send:
    """Send a datagram from the peer's `local_ip` through its `interface`; empty: as routing says."""

    data: bytes = field(repr=False)
    peer: PeerAddress
    retransmission: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for the record. Never holds a secret."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyLines:
    """Secrets for the key log of an experiment (`--ike-log`); asked for only when a core was told to."""

    lines: tuple[str, ...] = field(repr=False)


Effect = Persist | Kernel | Send | Event | KeyLines
ORDER = (Persist, Kernel, Send, Event, KeyLines)
"""Disk, kernel, wire, record. No generation is used that is not reserved, and none acknowledged that is not heard."""


_RANKS: dict[type[Effect], int] = {kind: rank for rank, kind in enumerate(ORDER)}


def in_order(effects: Sequence[Effect]) -> list[Effect]:
    """What one input of a core comes to, in ORDER."""
    return sorted(effects, key=_rank)


def _rank(effect: Effect) -> int:
    return _RANKS[type(effect)]
