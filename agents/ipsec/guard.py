"""Drops cleartext routing packets at a `required` interface itself, with an nftables table.

The SPD cannot name the interface of arrival of an IPv4 packet. If every interface is `required` it need not; beside a
`clear` one this closes the gap. The table hooks the interfaces' ingress, where a protected packet is still ESP. It is
ours alone: it is found by its name and replaced in one transaction, and nothing else is changed. Of PIM only packets to
its group are dropped: Registers of others pass through this router. Needs a kernel with inet ingress (5.10). Knows
nothing of SAs.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable

from agents.ipsec import nftables
from agents.ipsec.model import Guard
from agents.ipsec.nftables import UNTOUCHED, Match, NftablesError
from agents.runtime.netlink import MalformedReply

TABLE = "routing_key_guard"
PRIORITY = -500
"""Before all other hooks at an interface's ingress."""
_NAME = re.compile(r"[A-Za-z0-9_.:@-]{1,15}")
_GROUPS: dict[tuple[int, int], bytes] = {
    (socket.AF_INET, 103): socket.inet_pton(socket.AF_INET, "224.0.0.13"),
    (socket.AF_INET6, 103): socket.inet_pton(socket.AF_INET6, "ff02::d"),
}


class GuardError(RuntimeError):
    """nftables refused; the text is the kernel's own."""


def chains(guards: Iterable[Guard]) -> dict[str, list[Match]]:
    """The packets to drop at each interface. ValueError for an invalid interface name."""
    matches: dict[str, list[Match]] = {}
    for guard in sorted(guards, key=lambda g: (g.interface, g.family, g.protocol)):
        if not _NAME.fullmatch(guard.interface):
            raise ValueError(f"{guard.interface!r} is not an interface name")
        match = Match(guard.family, guard.protocol, _GROUPS.get((guard.family, guard.protocol), b""))
        matches.setdefault(guard.interface, []).append(match)
    return matches


class NftGuard:
    """The guard table of the network namespace that the caller is in."""

    def __init__(self) -> None:
        self._in_force: tuple[int, frozenset[Guard]] | None = UNTOUCHED, frozenset()

    def apply(self, guards: tuple[Guard, ...]) -> bool:
        """Put exactly these guards in force; True when something had to change. GuardError, ValueError."""
        wanted, asked = frozenset(guards), chains(guards)
        before = nftables.generation()
        if before is not None and (before, wanted) == self._in_force:
            return False
        known = before is not None and self._in_force is not None and self._in_force[0] == before
        self._in_force = None
        if not known and _holds(asked):
            self._in_force = None if before is None else (before, wanted)
            return False
        try:
            nftables.replace(TABLE, asked, PRIORITY)
        except NftablesError as error:
            raise GuardError(f"nftables: {error.strerror}") from error
        # After further changes beside our own, the next call checks the table.
        if before is not None and nftables.generation() == before + 1:
            self._in_force = before + 1, wanted
        return True


def _holds(asked: dict[str, list[Match]]) -> bool:
    """True if the table has this content. An unreadable table is replaced."""
    try:
        return nftables.holds(TABLE, asked)
    except (OSError, MalformedReply):
        return False
