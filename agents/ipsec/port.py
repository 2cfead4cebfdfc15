"""The interfaces between key management and the kernel: what an agent may ask of its router's IPsec.

Agents are written against these protocols, so tests and simulations can replace the kernel. Knows nothing of netlink.
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
    """One change that applying a wanted state made. `what` never holds a key."""

    kind: ChangeKind
    object: str
    """"sa" or "policy"."""
    what: str
    spi: int | None = None
    destination: IPAddress | None = None


class SasLost(Exception):
    """Another program removed SAs of ours from the kernel, and their counters of sent and received packets with them.
    They are not put back: other keys are needed. Everything else is in force."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} SAs of ours are no longer in the kernel")
        self.count = count


class KeyPort(Protocol):
    """The key servers' requests to the kernel. `Reconciler` is the real one."""

    def apply(self, wanted: Wanted) -> list[Change]:
        """Make the kernel hold exactly `wanted` of our objects; empty when it already did. SasLost."""

    def sequence(self, spi: int, destination: IPAddress) -> int:
        """The last sequence number sent (outbound) or the highest received (inbound) on an ESP SA.

        Raises LookupError when the kernel has no such SA.
        """
