"""The IKE datagrams of a capture: UDP on ports 500, 848 and 4500, over IPv4 and IPv6.

Knows nothing of what they hold. On port 4500 ESP and keepalives are left out (RFC 3948 §2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from testbed.probes.pcap import Source, ip_packets

PORTS = frozenset({500, 848, 4500})
NAT_PORT = 4500
_UDP = 17
_MARKER = bytes(4)


@dataclass(frozen=True)
class IkeDatagram:
    """One UDP payload without the marker of port 4500. `cut`: not all of it was captured."""

    time_ns: int
    source: str
    destination: str
    data: bytes
    cut: bool = False


def ike_datagrams(
    capture: Source, ports: frozenset[int] = PORTS, flaws: list[str] | None = None
) -> Iterator[IkeDatagram]:
    """In the capture's order. OSError; ValueError when the file is no capture; `flaws` says where one is cut off.

    IP fragments behind the first hold no ports and are left out; the first is `cut`.
    """
    for packet in ip_packets(capture, flaws):
        if packet.protocol != _UDP or packet.fragment_offset or len(packet.payload) < 8:
            continue
        source, destination, length = struct.unpack_from("!HHH", packet.payload)
        if source not in ports and destination not in ports:
            continue
        data = packet.payload[8:length]
        if NAT_PORT in (source, destination):
            if data[:4] != _MARKER:
                continue
            data = data[4:]
        yield IkeDatagram(
            packet.time_ns,
            _endpoint(str(packet.source), source),
            _endpoint(str(packet.destination), destination),
            data,
            cut=length > len(packet.payload),
        )


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
