"""Topologies of a few strokes, for simulations, benchmarks and tests: who is on which segment, and nothing else.

Networks that run in the guest come from `testbed.topology`; these have no timers, costs and hosts that anybody asks
for, and their DKS is reached from everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import NamedTuple

from agents.ipsec.protection import RoutingProtocol
from agents.policy.names import DKS_NAME
from testbed.topology.resolved import DksAttachment, Interface, Kind, Management, Ospf, Pim, Router, Segment, Topology

PROTOCOLS = (RoutingProtocol.OSPF, RoutingProtocol.PIM)
_DKS = IPv4Interface("192.0.2.1/24")
DKS_ADDRESS = _DKS.ip
_LINKS, _LOOPBACKS = int(IPv4Address("10.0.0.0")), int(IPv4Address("172.16.0.0"))
_LOOPBACKS6 = int(IPv6Address("fd00::"))


class End(NamedTuple):
    """A router's interface on a segment."""

    segment: str
    interface: str
    ipv4: IPv4Interface
    ipv6: IPv6Address


def drawn(
    routers: Mapping[str, Sequence[End]],
    protocols: Sequence[RoutingProtocol] = PROTOCOLS,
    *,
    name: str = "drawn",
    domain: str = "example",
    first: int = 0,
) -> Topology:
    """Routers with their interfaces; two on a segment make a point-to-point link, more a LAN. Where PIM runs the first
    router is the rendezvous point. `first`: how many loopbacks others have."""
    members: dict[str, list[tuple[str, str]]] = {}
    for router, ends in routers.items():
        for end in ends:
            members.setdefault(end.segment, []).append((router, end.interface))
    kinds: dict[str, Kind] = {segment: "p2p" if len(there) == 2 else "lan" for segment, there in members.items()}
    pim = RoutingProtocol.PIM in protocols
    made = {
        router: Router(
            name=router,
            router_id=IPv4Address(_LOOPBACKS + number),
            loopback=IPv4Interface(_LOOPBACKS + number),
            loopback6=IPv6Interface(_LOOPBACKS6 + number),
            interfaces=tuple(
                Interface(
                    name=end.interface,
                    router=router,
                    segment=end.segment,
                    kind=kinds[end.segment],
                    mac="",
                    ipv4=end.ipv4,
                    ipv6_link_local=end.ipv6,
                    cost=10,
                    pim=pim,
                )
                for end in ends
            ),
            pim_rp=pim and number == first,
        )
        for number, (router, ends) in enumerate(routers.items(), first)
    }
    one = next(iter(made.values()))
    return Topology(
        name=name,
        domain=domain,
        routers=made,
        segments={
            segment: Segment(name=segment, kind=kinds[segment], members=tuple(there))
            for segment, there in members.items()
        },
        hosts={},
        ospf=Ospf(v2=RoutingProtocol.OSPF in protocols, v3=RoutingProtocol.OSPF6 in protocols),
        pim=Pim(rp=one.name, rp_address=one.loopback.ip, ipv6=RoutingProtocol.PIM6 in protocols) if pim else None,
        dks=DksAttachment(
            router=one.name, segment=DKS_NAME, interface="eth0", ipv4=_DKS, gateway=DKS_ADDRESS,
            management=Management(subnet=_DKS.network, address=DKS_ADDRESS, routers={}),
        ),
    )  # fmt: skip


def wired(
    segments: Mapping[str, Sequence[str]], protocols: Sequence[RoutingProtocol] = PROTOCOLS, *, domain: str = "example"
) -> Topology:
    """By the names of the routers on each segment: r1's second interface is r1-e1, the first segment 10.0.0.0/24."""
    names = {name for there in segments.values() for name in there}
    routers: dict[str, list[End]] = {name: [] for name in sorted(names)}
    for number, (segment, there) in enumerate(segments.items()):
        for host, name in enumerate(there, 1):
            address = IPv4Interface((_LINKS + (number << 8) + host, 24))
            routers[name].append(End(segment, f"{name}-e{len(routers[name])}", address, _link_local(number, host)))
    return drawn(routers, protocols, domain=domain)


def ring(
    size: int, protocols: Sequence[RoutingProtocol] = PROTOCOLS, *, domain: str = "example", first: int = 0
) -> Topology:
    """Routers r1, r2, … in a ring, each with an interface `right` to the next one and `left` to the one before.
    `first`: how many routers are in other rings of the domain."""
    routers = {}
    for index in range(size):
        ends = []
        for interface, number, host in (("right", first + index, 1), ("left", first + (index - 1) % size, 2)):
            address = IPv4Interface((_LINKS + 4 * number + host, 30))
            ends.append(End(str(address.network), interface, address, _link_local(number, host)))
        routers[f"r{first + index + 1}"] = ends
    return drawn(routers, protocols, domain=domain, first=first)


def _link_local(number: int, host: int) -> IPv6Address:
    return IPv6Address((0xFE80 << 112) + (number + 1 << 16) + host)
