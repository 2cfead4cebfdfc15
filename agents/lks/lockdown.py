"""What a router without usable state puts into its kernel: every routing protocol closed, and no key.

A Local Key Server whose document or counters are gone cannot know what it may send. A kernel without policies
would send and hear in clear, so it is closed before the server ends. Knows no file and no message.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from agents.ipsec.protection import Mode, ProtectedInterface, RoutingProtocol
from agents.lks.core import protected
from agents.policy.document import PolicyDocument

LOOPBACK = "lo"


def lockdown(document: PolicyDocument | None, interfaces: Iterable[str]) -> tuple[ProtectedInterface, ...]:
    """What to protect though there are no keys: as the document says, or without one everything, strictly."""
    if document is not None:
        present = set(interfaces)
        return tuple(
            each for interface in document.interfaces if interface.name in present for each in protected(interface)
        )
    return tuple(
        _closed(name, protocol) for name in sorted(interfaces) if name != LOOPBACK for protocol in RoutingProtocol
    )


def _closed(name: str, protocol: RoutingProtocol) -> ProtectedInterface:
    if protocol.family == socket.AF_INET:
        nowhere, everything = IPv4Address(0), IPv4Network("0.0.0.0/0")
        return ProtectedInterface(name, protocol, Mode.REQUIRED, "lan", nowhere, everything)
    return ProtectedInterface(name, protocol, Mode.REQUIRED, "lan", IPv6Address(0), IPv6Network("::/0"))
