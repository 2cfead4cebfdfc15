"""From protected interfaces and keys to the SPD and SAD that shall be in the kernel.

`wanted_state` is a pure function; it knows nothing of netlink, of what the kernel holds
now, or of the order in which changes are safe (`reconciler`).
"""

from __future__ import annotations

from collections.abc import Iterable

from agents.ipsec.model import Wanted
from agents.ipsec.protection import (
    GroupSa,
    Mode,
    ProtectedInterface,
    RoutingProtocol,
    Suite,
)

__all__ = ["GroupSa", "Mode", "ProtectedInterface", "RoutingProtocol", "Suite", "wanted_state"]


def wanted_state(interfaces: Iterable[ProtectedInterface], sas: Iterable[GroupSa]) -> Wanted:
    """The policies and SAs for these interfaces (every protocol's) with these keys."""
    raise NotImplementedError
