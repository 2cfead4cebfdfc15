"""Domains of any size for the simulation: rings of routers, their keys, and the documents that a Policy Server signs.

Access networks are rings: here each has as many routers as asked for, 20 at most, and no ring knows another. With PIM
the first router of a ring is its rendezvous point, and each other one makes a pair with it. So a
domain of 100,000 is compiled ring by ring, each with SPI blocks of its own; the Policy Server's editor itself takes
no more than 20,000 routers a domain. Keys come from names. FOR SIMULATION ONLY. Knows nothing of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.ipsec.protection import RoutingProtocol
from agents.policy.compile import compile_documents
from agents.policy.document import PolicyDocument
from agents.policy.domain import Settings
from agents.policy.names import DKS_NAME
from agents.policy.spi import FIRST_BASE, block_size
from testbed.domains import drawn
from testbed.domains.build import ISSUED_AT, domain_of, signed
from testbed.domains.drawn import DKS_ADDRESS
from testbed.simulation.parties import POLICY_SERVER, key

NAME, DKS = "storm", DKS_NAME
MAX_RING = 20


@dataclass(frozen=True, slots=True)
class RingRouter:
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


def by_ring(ring_routers: Iterable[RingRouter]) -> Iterator[tuple[int, list[RingRouter]]]:
    """The routers of each ring, with its number, of routers in their order."""
    for ring, routers in groupby(ring_routers, lambda each: each.ring):
        yield ring, list(routers)


def ring_routers(
    routers: int,
    settings: Settings,
    protocols: Sequence[RoutingProtocol],
    share: tuple[int, int] = (0, 1),
    *,
    points: bool = True,
    largest: int = MAX_RING,
) -> Iterator[RingRouter]:
    """All routers, ring after ring; or of every `share[1]`-th ring, from ring `share[0]` on. `points`: whether rings
    have rendezvous points, where PIM runs; `largest`: how many routers a ring has at most."""
    first = 0
    for ring, size in enumerate(rings(routers, largest)):
        if ring % share[1] == share[0]:
            yield from _ring(ring, first, size, settings, protocols, points)
        first += size


def _ring(
    ring: int, first: int, size: int, settings: Settings, protocols: Sequence[RoutingProtocol], points: bool
) -> Iterator[RingRouter]:
    topology = drawn.ring(size, protocols, domain=NAME, first=first)
    domain = domain_of(
        topology, key, DKS_ADDRESS, settings,
        protocols=protocols, points=points, first_spi=FIRST_BASE + first * block_size(2),
    )  # fmt: skip
    documents = compile_documents(domain, 1, ISSUED_AT)
    octets = signed(documents, POLICY_SERVER)
    for name, router in topology.routers.items():
        links = {
            each.name: (str(each.address or each.address6), router.interface(each.name).segment)
            for each in documents[name].interfaces
        }
        yield RingRouter(name, ring, key(name), links, str(router.loopback.ip), documents[name], octets[name])
