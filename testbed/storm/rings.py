"""Domains of any size for the simulation: rings of routers, their keys, and the documents that a Policy Server signs.

Access networks are rings: here each has as many routers as asked for, 20 unless told, and no ring knows another. With
PIM the first router of a ring is its rendezvous point, and each other one makes a pair with it. So a domain of 100,000
is compiled ring by ring, each with SPI blocks of its own; the Policy Server's editor itself takes no more than 20,000
routers a domain. Keys come from names. FOR SIMULATION ONLY. Knows nothing of time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from itertools import groupby

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy.compile import compile_documents
from agents.policy.document import IPV4_PROTOCOLS, DksEntry, PolicyDocument, SpiBlock, sign_document
from agents.policy.domain import AdjacencyEntry, Domain, End, InterfaceEntry, PointEntry, RouterEntry, Settings
from agents.policy.keys import spki
from agents.policy.spi import FIRST_BASE, GENERATION_BITS, block_size

NAME, DKS = "storm", "dks"
DKS_ADDRESS = IPv4Address("192.0.2.1")
MAX_RING = 20
_FIRST_LINK = int(IPv4Address("10.0.0.0"))
_FIRST_LOOPBACK = int(IPv4Address("172.16.0.0"))


def key_of(name: str) -> Ed25519PrivateKey:
    """A party's private key."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"storm at scale\0{name}".encode()).digest())


POLICY_SERVER = key_of("policy server")


@dataclass(frozen=True, slots=True)
class Place:
    """One router. `ring`: the number of its ring; `interfaces`: name → (address, link); `loopback`: whence it registers
    with the rendezvous point."""

    name: str
    ring: int
    key: Ed25519PrivateKey
    interfaces: dict[str, tuple[str, str]]
    loopback: str
    document: PolicyDocument
    signed: bytes


def rings(routers: int, largest: int = MAX_RING) -> list[int]:
    """The sizes of the rings: as few as possible, none with less than three routers. ValueError for fewer routers."""
    if routers < 3:
        raise ValueError("a ring has at least three routers")
    count = -(-routers // largest)
    return [routers // count + (number < routers % count) for number in range(count)]


def by_ring(places: Iterable[Place]) -> Iterator[tuple[int, list[Place]]]:
    """The routers of each ring, with its number, of routers in their order."""
    for ring, routers in groupby(places, lambda each: each.ring):
        yield ring, list(routers)


def places(
    routers: int,
    settings: Settings,
    protocols: Sequence[RoutingProtocol],
    share: tuple[int, int] = (0, 1),
    *,
    points: bool = True,
    largest: int = MAX_RING,
) -> Iterator[Place]:
    """All routers, ring after ring; or of every `share[1]`-th ring, from ring `share[0]` on. `points`: whether rings
    have rendezvous points, where PIM runs; `largest`: how many routers a ring has at most."""
    entry = DksEntry(name=DKS, key=spki(key_of(DKS)), addresses=(DKS_ADDRESS,))
    first = 0
    for ring, size in enumerate(rings(routers, largest)):
        if ring % share[1] == share[0]:
            point = RoutingProtocol.PIM in protocols and points
            yield from _ring(ring, first, size, entry, settings, tuple(protocols), point)
        first += size


def _ring(
    ring: int,
    first: int,
    size: int,
    dks: DksEntry,
    settings: Settings,
    protocols: tuple[RoutingProtocol, ...],
    point: bool,
) -> Iterator[Place]:
    loopbacks = [IPv4Address(_FIRST_LOOPBACK + first + place) for place in range(size)]
    names = [f"r{number}" for number in range(first + 1, first + size + 1)]
    keys = [key_of(name) for name in names]
    block = block_size(2)
    ipv4 = bool(IPV4_PROTOCOLS & set(protocols))
    entries: dict[str, RouterEntry] = {}
    for place, (name, key) in enumerate(zip(names, keys, strict=True)):
        # Link number n is between router n and the next one of the ring; both ends are in its /30.
        right, left = first + place, first + (place - 1) % size
        interfaces = tuple(
            InterfaceEntry(
                name=interface,
                index=index,
                address=IPv4Interface((_FIRST_LINK + 4 * link + end, 30)) if ipv4 else None,
                address6=IPv6Address((0xFE80 << 112) + (link + 1 << 8) + end),
                link="p2p",
                mode=Mode.REQUIRED,
                protocols=protocols,
            )
            for index, (interface, link, end) in enumerate((("right", right, 1), ("left", left, 2)))
        )
        spi = SpiBlock(base=FIRST_BASE + (first + place) * block, size=block, generation_bits=GENERATION_BITS)
        sources = (loopbacks[place],) if point else ()
        entries[name] = RouterEntry(
            name=name, key=spki(key), approved=True, spi=spi, interfaces=interfaces, sources=sources
        )
    adjacencies = tuple(
        AdjacencyEntry(a=End(router=name, interface="right", index=0), b=End(router=other, interface="left", index=0))
        for name, other in zip(names, [*names[1:], names[0]], strict=True)
    )
    given = FIRST_BASE + (first + size) * block
    points = (PointEntry(router=names[0], address=loopbacks[0]),) if point else ()
    domain = Domain(
        name=NAME, dks=dks, settings=settings, routers=entries, adjacencies=adjacencies, points=points, next_spi=given
    )
    documents = compile_documents(domain, 1, 0)
    for place, (name, key, loopback) in enumerate(zip(names, keys, loopbacks, strict=True)):
        wires = (first + place, first + (place - 1) % size)
        links = {
            each.name: (str(each.address.ip if each.address else each.address6), f"link {wire}")
            for each, wire in zip(entries[name].interfaces, wires, strict=True)
        }
        yield Place(
            name, ring, key, links, str(loopback), documents[name], sign_document(documents[name], POLICY_SERVER)
        )
