"""Keying `native`: FRR's own authentication, one key for the network in a key chain.

OSPFv2: HMAC-SHA-256 (RFC 5709). OSPFv3: the authentication trailer with HMAC-SHA-256
(RFC 7166). PIM has no authentication of its own in FRR, so PIM runs unprotected in this mode.
Nothing is encrypted, and nothing replaces the key.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from testbed.keying.base import Keying, Look
from testbed.keying.options import NativeOptions, PlanOptions

if TYPE_CHECKING:
    from testbed.topology.resolved import Interface, Router, Topology

_CHAIN = "network"
_KEY_ID = 1
#: Longest key string that FRR's ospf6d accepts for HMAC-SHA-256.
_KEY_CHARACTERS = 32


class NativeKeying(Keying):
    """One key chain on every router. Option `wrong_key`: routers that get another key."""

    name: ClassVar[str] = "native"
    look: ClassVar[Look | None] = Look("#cc79a7", "s", (0, (3, 1, 1, 1, 1, 1)))
    options: ClassVar[type[PlanOptions]] = NativeOptions

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}

    def prepare(self, topology: Topology, folder: Path, seed: int, options: PlanOptions) -> None:
        """Draw the network's key from the seed."""
        assert isinstance(options, NativeOptions)
        wrong = frozenset(options.wrong_key)
        for name in topology.routers:
            text = f"{seed}/native/{name if name in wrong else ''}"
            self._keys[name] = hashlib.sha256(text.encode()).hexdigest()[:_KEY_CHARACTERS]

    def ospf_key(self, router: str) -> tuple[int, bytes] | None:
        """As Keying.ospf_key."""
        return _KEY_ID, self._keys[router].encode()

    def frr_global_lines(self, topology: Topology, router: Router, daemon: str) -> list[str]:
        """The key chain, for the two OSPF daemons."""
        if daemon not in ("ospfd", "ospf6d"):
            return []
        return [
            f"key chain {_CHAIN}",
            f" key {_KEY_ID}",
            f"  key-string {self._keys[router.name]}",
            "  cryptographic-algorithm hmac-sha-256",
            " exit",
            "exit",
        ]

    def frr_interface_lines(self, topology: Topology, interface: Interface, daemon: str) -> list[str]:
        """The lines that make an interface use it."""
        if interface.passive:
            return []
        if daemon == "ospfd":
            return [f"ip ospf authentication key-chain {_CHAIN}"]
        if daemon == "ospf6d":
            return [f"ipv6 ospf6 authentication keychain {_CHAIN}"]
        return []
