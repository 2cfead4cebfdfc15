"""The doors between key management and the kernel: what an agent may ask of its router's IPsec.

Agents are written against these protocols, so that tests and simulations can stand in for
a kernel. Nothing here knows netlink.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from agents.ipsec.model import Wanted
from agents.ipsec.protection import IPAddress


class ChangeKind(Enum):
    """What was done to one object."""

    ADDED = "added"
    REPLACED = "replaced"
    REMOVED = "removed"


@dataclass(frozen=True)
class Change:
    """One thing that applying a wanted state did. `what` never holds a key."""

    kind: ChangeKind
    object: str
    """"sa" or "policy"."""
    what: str
    spi: int | None = None
    destination: IPAddress | None = None


class SasLost(Exception):
    """Somebody else took SAs of ours out of the kernel, and with them the count of what was sent and heard under their
    keys. They are not put back: other keys are needed. All the rest is in force."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} SAs of ours are not in the kernel any more")
        self.count = count


class KeyPort(Protocol):
    """What the key servers need of the kernel. `Reconciler` is the real one."""

    def apply(self, wanted: Wanted) -> list[Change]:
        """Make the kernel hold exactly `wanted` of what is ours; empty when it already did. SasLost."""

    def sequence(self, spi: int, destination: IPAddress) -> int:
        """The last sequence number sent (outbound) or the highest heard (inbound) on an ESP SA.

        Raises LookupError when the kernel has no such SA.
        """
