"""What a test looks for in the captures of a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from testbed.probes.pcap import AH, ESP, OSPF, PIM, IpPacket, ip_packets


def cleartext_packets(path: str | Path, protocols: Iterable[int] = (OSPF, PIM)) -> list[IpPacket]:
    """The packets of routing protocols that went over the wire unprotected."""
    wanted = frozenset(protocols)
    return [packet for packet in ip_packets(path) if packet.protocol in wanted]


def protected_packets(path: str | Path) -> list[IpPacket]:
    """The ESP and AH packets of a pcap file."""
    return [packet for packet in ip_packets(path) if packet.protocol in (ESP, AH)]
