"""What the modelled kernel does with a packet in clear: an SPD lookup as Linux does it, and the guards at the device.

IPv4 only: an inbound policy that names a device never matches (docs/ipsec.md). Knows nothing of what is right.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

from agents.ipsec.model import Action, Direction, Policy, Selector, Wanted

IP_HDRINCL = 255
"""How the kernel looks up what ospfd and pimd send."""


def heard_in_clear(wanted: Wanted, interface: str, protocol: int, source: IPv4Address, to: IPv4Address) -> bool:
    """Whether this packet without ESP, come in at this interface, reaches the daemon."""
    if any((each.interface, each.protocol) == (interface, protocol) for each in wanted.guards):
        return False

    def matches(selector: Selector) -> bool:
        fits = source in selector.source and to in selector.destination
        return fits and selector.protocol in (0, protocol) and selector.interface is None

    return _passes(wanted, Direction.IN, matches)


def sent_in_clear(wanted: Wanted, interface: str, to: IPv4Address) -> bool:
    """Whether what a daemon sends there through this interface goes out without ESP."""

    def matches(selector: Selector) -> bool:
        fits = to in selector.destination and selector.interface in (None, interface)
        return fits and selector.protocol in (0, IP_HDRINCL)

    return _passes(wanted, Direction.OUT, matches)


def _passes(wanted: Wanted, direction: Direction, matches: Callable[[Selector], bool]) -> bool:
    best: Policy | None = None
    for each in wanted.policies:
        if each.direction is direction and matches(each.selector) and (best is None or each.priority < best.priority):
            best = each
    if best is None:
        return True
    return best.action is Action.ALLOW and (not best.templates or best.templates[0].optional)
