"""The effects of an agent's core: values, in the order in which they must be executed.

A core never opens a file or a socket. It collects effects as they arise, and `in_order` sorts them by ORDER, each kind
as it was collected. The driver executes one after the other, and continues only when one is done: a file that must be
kept is on the disk before the kernel or a datagram depends on it. Knows nothing of their execution.
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
    """Write this file to the state folder, whole and synced, before anything that follows. `binding`: nothing that
    follows may be done without it; otherwise it is written later if the disk refuses it."""

    name: str
    data: bytes = field(repr=False)
    binding: bool = True


@dataclass(frozen=True, slots=True)
class Kernel:
    """Make the kernel have exactly this protection. `at`: the time of the request, in seconds of the SAs' ends."""

    interfaces: tuple[ProtectedInterface, ...]
    sas: tuple[GroupSa, ...]
    unicast: Unicast = NONE
    at: float = field(default=0.0, compare=False)

    def wanted(self, now: float | None = None) -> Wanted:
        """Its policies and SAs, with lifetimes as from `now`. ValueError for a content that no kernel could hold."""
        now = self.at if now is None else now
        return with_unicast(wanted_state(self.interfaces, self.sas, now), self.unicast, now)

    def within(self, covered: Kernel | None) -> Kernel:
        """Only the part whose group keys `covered` has too: keys go, and none is added. Without `covered`, fail-closed
        policies only. Pairs keep their keys, which depend on no file."""
        if covered is None:
            return replace(self, sas=())
        known = {_key_of(each) for each in covered.sas}
        return replace(self, interfaces=covered.interfaces, sas=tuple(sa for sa in self.sas if _key_of(sa) in known))


def _key_of(sa: GroupSa) -> tuple[object, ...]:
    return sa.interface, sa.destination, sa.spi, sa.outbound, sa.keymat


@dataclass(frozen=True, slots=True)
class Send:
    """Send a datagram from the peer's `local_ip` through its `interface`; empty: as routing decides."""

    data: bytes = field(repr=False)
    peer: PeerAddress
    retransmission: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """An event for the record. Never holds a secret."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyLines:
    """Secrets for the key log of an experiment (`--ike-log`); only a core that was told to gives them."""

    lines: tuple[str, ...] = field(repr=False)


Effect = Persist | Kernel | Send | Event | KeyLines
ORDER = (Persist, Kernel, Send, Event, KeyLines)
"""Disk, kernel, wire, record. No generation is used before it is reserved, and none acknowledged before it can be
received."""


_RANKS: dict[type[Effect], int] = {kind: rank for rank, kind in enumerate(ORDER)}


def in_order(effects: Sequence[Effect]) -> list[Effect]:
    """The effects of one input of a core, in ORDER."""
    return sorted(effects, key=_rank)


def _rank(effect: Effect) -> int:
    return _RANKS[type(effect)]
