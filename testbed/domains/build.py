"""The one builder of domains: what an administrator would have approved for a topology.

Goes through the same domain, checks and signatures as an administrator's Policy Server does; what is the laboratory's
own are the keys. The guest's keying modes, simulations, benchmarks and the fixtures of tests differ in arguments alone.
(`testbed.effort` types the same domain with the `policy` command, for it counts what a person types.) Knows nothing of
files, processes or time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Address

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import edit
from agents.policy.document import MAX_PAIR_ADDRESSES, DksEntry, PolicyDocument, sign_document
from agents.policy.domain import Domain, Settings
from agents.policy.errors import PolicyError
from agents.policy.keys import spki
from agents.policy.names import DKS_NAME
from agents.policy.spi import FIRST_BASE
from testbed.domains.keys import Keys
from testbed.errors import InputError
from testbed.topology.resolved import Interface, IPAddress, Router, Topology
from testbed.topology.spare import spare_links

PORT = 848
ISSUED_AT = 0
"""Documents of the laboratory are issued at Unix time 0 and valid for longer than any run: a guest in
virtual time begins where its seed says, and expiry is tested by giving other times."""


def domain_of(
    topology: Topology,
    keys: Keys,
    dks_address: IPAddress,
    settings: Settings,
    mode: Mode = Mode.REQUIRED,
    clear: Collection[RoutingProtocol] = (),
    region: Collection[str] = (),
    new_links: int = 0,
    *,
    protocols: Sequence[RoutingProtocol] | None = None,
    points: bool = True,
    room: int = 4,
    first_spi: int = FIRST_BASE,
    port: int = PORT,
) -> Domain:
    """The domain of this topology: every adjacency it draws, all in `mode` but for the protocols that stay `clear`. Of
    a `region` of links and LANs those alone, and the routers on them, whose other interfaces are in clear. Then unicast
    PIM is protected among them and heard in clear from others, who register as well. Without the adjacencies of
    `new_links` links, which the network hangs together without.

    `protocols`: instead of those that the topology's routers speak. `points`: whether unicast PIM with rendezvous
    points is protected. `room`: for how many interfaces a router has SPIs at least; `first_spi`: where those of the
    first router begin. `port`: the DKS's. InputError when the Policy Server would refuse it.
    """
    dks = DksEntry(name=DKS_NAME, key=spki(keys(DKS_NAME)), addresses=(dks_address,), port=port)
    domain = Domain(name=topology.domain, dks=dks, settings=settings, next_spi=first_spi)
    if region:
        domain = edit.set_points_mode(domain, Mode.PERMISSIVE)
    withheld = set(spare_links(topology, new_links)) if new_links else set()
    try:
        for router in members(topology, region):
            protected = [each for each in router.interfaces if _protected(each)]
            key, least = spki(keys(router.name)), max(room, len(protected))
            domain = edit.add_router(domain, router.name, key, room=least, approved=True)
            for interface in protected:
                spoken = _protocols(topology, interface) if protocols is None else tuple(protocols)
                domain = edit.add_interface(
                    domain,
                    router.name,
                    interface.name,
                    None if topology.bare else interface.ipv4,
                    interface.ipv6_link_local,
                    "lan" if interface.kind == "lan" else "p2p",
                    spoken,
                    mode if _inside(interface, region) else Mode.CLEAR,
                )
                free = [each for each in spoken if each in clear]
                if free:
                    domain = edit.set_mode(domain, router.name, interface.name, Mode.CLEAR, free)
            if topology.pim is not None and points:
                domain = edit.set_sources(domain, router.name, _registers_from(router))
                if router.pim_rp and RoutingProtocol.PIM not in clear:
                    domain = edit.set_point(domain, router.name, topology.pim.rp_address)
        for router in members(topology, region):
            for adjacency in topology.neighbors(router.name):
                here = (router.name, adjacency.interface.name)
                there = (adjacency.neighbor_router, adjacency.neighbor_interface.name)
                inside = _inside(adjacency.interface, region) and _protected(adjacency.neighbor_interface)
                if here < there and inside and adjacency.interface.segment not in withheld:
                    domain = edit.allow(domain, here, there)
    except PolicyError as error:
        raise InputError(str(error), where=f"topology {topology.name}") from error
    return domain


def members(topology: Topology, region: Collection[str]) -> list[Router]:
    """The routers that have keys: those with an interface on a link or LAN of the region."""
    return [
        router for router in topology.routers.values()
        if not region or any(_protected(each) and _inside(each, region) for each in router.interfaces)
    ]  # fmt: skip


def _inside(interface: Interface, region: Collection[str]) -> bool:
    return not region or interface.segment in region


def _registers_from(router: Router) -> list[IPv4Address]:
    """pimd takes the address on the link of the source: that of a host, or the loopback for what the router sends."""
    stubs = [each.ipv4.ip for each in router.interfaces if each.kind == "stub" and each.pim]
    return [*stubs[: MAX_PAIR_ADDRESSES - 1], router.loopback.ip]


def _protected(interface: Interface) -> bool:
    return interface.kind != "stub" and not interface.passive


def _protocols(topology: Topology, interface: Interface) -> tuple[RoutingProtocol, ...]:
    spoken = []
    if topology.ospf.v2:
        spoken.append(RoutingProtocol.OSPF)
    if topology.ospf.v3:
        spoken.append(RoutingProtocol.OSPF6)
    if topology.pim is not None and interface.pim:
        spoken.append(RoutingProtocol.PIM)
        if topology.pim.ipv6:
            spoken.append(RoutingProtocol.PIM6)
    return tuple(spoken)


def signed(documents: Mapping[str, PolicyDocument], root: Ed25519PrivateKey) -> dict[str, bytes]:
    """The documents of routers, signed with the Policy Server's key."""
    return {name: sign_document(document, root) for name, document in documents.items()}
