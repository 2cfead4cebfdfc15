"""The kernel content of a router without usable state: every routing protocol closed, and no key.

A Local Key Server without its document or counters cannot know what it may send. A kernel without policies would send
and receive in clear, so it is closed before the server ends. Knows no file and no message.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from agents.ipsec.protection import Mode, ProtectedInterface, RoutingProtocol
from agents.ipsec.unicast import Unicast, UnicastPoint
from agents.lks.core import protected
from agents.policy.document import PolicyDocument

LOOPBACK = "lo"


def lockdown(document: PolicyDocument | None, interfaces: Iterable[str]) -> tuple[ProtectedInterface, ...]:
    """What to protect without keys: the protocols of the document, or without one everything, strictly."""
    if document is not None:
        present = set(interfaces)
        return tuple(
            each for interface in document.interfaces if interface.name in present for each in protected(interface)
        )
    return tuple(
        _closed(name, protocol) for name in sorted(interfaces) if name != LOOPBACK for protocol in RoutingProtocol
    )


def lockdown_unicast(document: PolicyDocument | None) -> Unicast:
    """As `lockdown`, for unicast PIM: without a document, none is accepted from any address."""
    if document is None:
        return Unicast((UnicastPoint(IPv4Address(0), RoutingProtocol.PIM, Mode.REQUIRED, True),))
    return Unicast(tuple(UnicastPoint(each.address, each.protocol, each.mode, each.own) for each in document.points))


def _closed(name: str, protocol: RoutingProtocol) -> ProtectedInterface:
    if protocol.family == socket.AF_INET:
        nowhere, everything = IPv4Address(0), IPv4Network("0.0.0.0/0")
        return ProtectedInterface(name, protocol, Mode.REQUIRED, "lan", nowhere, everything)
    return ProtectedInterface(name, protocol, Mode.REQUIRED, "lan", IPv6Address(0), IPv6Network("::/0"))
