"""What every interface sent, packet by packet: routing in clear or protected, and IKE. From a run's captures.

A frame counts where it leaves an interface, once for each link it crosses. Octets are those of the IP packet with its
header, without Ethernet's. Knows headers and no keys: what is in ESP counts as routing; nothing else uses it here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from agents.ikev2.registry import ExchangeType, Flag
from testbed.errors import InputError
from testbed.probes.ike import NAT_PORT, PORTS
from testbed.probes.pcap import AH, ESP, OSPF, PIM, Frame, IpPacket, ip_packet, read_frames
from testbed.topology.resolved import Topology, label

ETHERNET_OCTETS = 14
CLEAR, PROTECTED, IKE, OTHER = "clear", "protected", "ike", "other"
_KINDS = {OSPF: CLEAR, PIM: CLEAR, ESP: PROTECTED, AH: PROTECTED}
_UDP = 17
_HEADER = struct.Struct("!8s8sBBBBI")


class IkeHead(NamedTuple):
    """What stands in clear in front of an IKE message (RFC 7296 §3.1). `spi` is the initiator's."""

    spi: bytes
    exchange: int
    response: bool
    message_id: int


class Sent(NamedTuple):
    """One IP packet as it left an interface, which is known by its label. `t` in ns of the record; `ike` None for what
    is no whole IKE header."""

    t: int
    interface: str
    kind: str
    octets: int
    ike: IkeHead | None = None


def routing_interfaces(topology: Topology) -> list[str]:
    """The labels of the interfaces on which routing packets are sent."""
    return sorted({other.interface.label for name in topology.routers for other in topology.neighbors(name)})


def sent(folder: Path, topology: Topology) -> list[Sent]:
    """All packets that the captures of a run's folder have, in the order of time. InputError without captures."""
    files = sorted((folder / "pcap").glob("*.pcap"))
    if not files:
        raise InputError("the run has no captures", where=str(folder), next_command="lab run … -o captures=all")
    macs, addresses = _macs(topology), _addresses(topology)
    packets = [
        each for file in files for each in _of_file(file, macs.get(file.stem), addresses.get(file.stem)) if each.octets
    ]
    return sorted(packets, key=lambda each: (each.t, each.interface))


def handshakes(packets: Iterable[Sent]) -> int:
    """IKE SAs that somebody began to negotiate: different initiator's SPIs in IKE_SA_INIT requests."""
    return len(
        {
            each.ike.spi
            for each in packets
            if each.ike is not None and each.ike.exchange == ExchangeType.IKE_SA_INIT and not each.ike.response
        }
    )


class Handshake(NamedTuple):
    """An IKE SA from its first IKE_SA_INIT request to the answer that authenticates the responder, as both ends sent
    it: octets of IP packets, datagrams (fragments are some of their own), requests, and ns from the one to the other.
    `further`: the same of IKE_INTERMEDIATE alone (RFC 9370), where additional key exchanges are."""

    octets: int
    datagrams: int
    requests: int
    ns: int
    further: Handshake | None = None


_HANDSHAKE = (
    ExchangeType.IKE_SA_INIT, ExchangeType.IKE_INTERMEDIATE, ExchangeType.IKE_AUTH, ExchangeType.GSA_AUTH
)  # fmt: skip


def handshake_costs(packets: Sequence[Sent]) -> list[Handshake]:
    """What each handshake cost that came to its end. A packet counts where it began its way alone."""
    by_spi: dict[bytes, list[Sent]] = {}
    for each in packets:
        if each.ike is not None and each.ike.exchange in _HANDSHAKE:
            by_spi.setdefault(each.ike.spi, []).append(each)
    handshakes = []
    for seen in by_spi.values():
        ends = {each.ike.response: each.interface for each in reversed(seen) if each.ike is not None}
        own = [each for each in seen if each.ike is not None and each.interface == ends[each.ike.response]]
        if any(_answers(each, ExchangeType.GSA_AUTH) or _answers(each, ExchangeType.IKE_AUTH) for each in own):
            further = [each for each in own if each.ike and each.ike.exchange == ExchangeType.IKE_INTERMEDIATE]
            handshakes.append(_cost(own)._replace(further=_cost(further) if further else None))
    return handshakes


def _answers(packet: Sent, exchange: int) -> bool:
    return packet.ike is not None and packet.ike.response and packet.ike.exchange == exchange


def _cost(packets: Sequence[Sent]) -> Handshake:
    requests = {each.ike.message_id for each in packets if each.ike is not None and not each.ike.response}
    return Handshake(sum(each.octets for each in packets), len(packets), len(requests), packets[-1].t - packets[0].t)


def informational(packets: Iterable[Sent]) -> list[Sent]:
    """What shows that a peer lives, and reports: no keys (RFC 7296 §1.4)."""
    return [each for each in packets if each.ike is not None and each.ike.exchange == ExchangeType.INFORMATIONAL]


def messages(packets: Iterable[Sent]) -> int:
    """Different IKE messages: a repetition, a fragment or one more link on the way makes none."""
    return len({each.ike for each in packets if each.ike is not None})


def _of_file(file: Path, mac: bytes | None, address: IPv4Address | None) -> Iterator[Sent]:
    for frame in read_frames(file):
        packet = ip_packet(frame)
        if packet is None:
            continue
        if mac is None and packet.source == address:
            mac = frame.data[6:12]  # nobody else on that link sends from the interface's own address
        if frame.data[6:12] == mac:
            yield _sent(file.stem, frame, packet)


def _sent(interface: str, frame: Frame, packet: IpPacket) -> Sent:
    octets = len(frame.data) - ETHERNET_OCTETS
    kind, head = _KINDS.get(packet.protocol, OTHER), None
    if packet.protocol == _UDP:
        if packet.fragment_offset:
            kind = IKE  # nothing else here sends datagrams that a link cuts up
        elif len(packet.payload) >= 8 and (ports := set(struct.unpack_from("!HH", packet.payload))) & PORTS:
            kind, head = IKE, _head(packet.payload[8:], NAT_PORT in ports)
    return Sent(packet.time_ns, interface, kind, octets, head)


def _head(data: bytes, marked: bool) -> IkeHead | None:
    data = data[4:] if marked else data
    if len(data) < 28:
        return None
    spi, _, _, _, exchange, flags, message_id = _HEADER.unpack_from(data)
    return IkeHead(spi, exchange, bool(flags & Flag.RESPONSE), message_id)


def _macs(topology: Topology) -> dict[str, bytes]:
    return {
        interface.label: bytes.fromhex(interface.mac.replace(":", ""))
        for router in topology.routers.values()
        for interface in router.interfaces
    }


def _addresses(topology: Topology) -> dict[str, IPv4Address]:
    """Of interfaces whose MAC address the topology does not settle."""
    management = topology.dks.management
    return {
        label("dks", topology.dks.interface): topology.dks.ipv4.ip,
        "dks-mgmt": management.address,
        **{label(router, each.name): each.ipv4.ip for router, each in management.routers.items()},
        **{label(name, host.interface): host.ipv4.ip for name, host in topology.hosts.items()},
    }
