"""The pairs of unicast PIM: every PIM router with every rendezvous point (RFC 7761 §4.4, §6.3).

From the domain to the pairs of one router's document, and the problems that prevent them. Knows nothing of signatures,
nor of how a pair gets its keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from agents.ipsec.protection import RoutingProtocol
from agents.policy.document import MAX_PAIR_ADDRESSES, PairPolicy, PointPolicy
from agents.policy.domain import Domain, RouterEntry

_INDEX_SHIFT = 15
"""No SPI block is smaller than 2^15, and none is assigned twice: this part of its base is unique to a router."""


def speaks_pim(router: RouterEntry) -> bool:
    """True if the router may be a first-hop router or a rendezvous point."""
    return bool(router.sources) or any(RoutingProtocol.PIM in each.protocols for each in router.interfaces)


def sources(domain: Domain, router: RouterEntry) -> tuple[IPv4Address, ...]:
    """The source addresses of the router's Registers: its configured ones, else those of its PIM interfaces without
    neighbours, else that of its first PIM interface. A first-hop router uses the address on the source's link."""
    if router.sources:
        return router.sources
    pim = [each for each in router.interfaces if RoutingProtocol.PIM in each.protocols]
    alone = [each for each in pim if not any(True for _ in domain.neighbors(router.name, each.name))]
    return tuple(each.address.ip for each in (alone or pim[:1]) if each.address is not None)


def address_of_point(domain: Domain, router: RouterEntry) -> IPv4Address | None:
    """The address at which this router is the rendezvous point, or None."""
    return next((each.address for each in domain.points if each.router == router.name), None)


def _speaking(domain: Domain, router: RouterEntry, *, to_point: bool) -> tuple[IPv4Address, ...]:
    """The router's addresses towards a rendezvous point, or towards another router: there it uses its own rendezvous
    point address."""
    own = address_of_point(domain, router)
    registering = sources(domain, router) if to_point and speaks_pim(router) else ()
    both = (*registering, own) if own is not None else registering
    return tuple(dict.fromkeys(both))


def points_of(domain: Domain, router: RouterEntry) -> tuple[PointPolicy, ...]:
    """The rendezvous points in this router's document."""
    if not speaks_pim(router) and address_of_point(domain, router) is None:
        return ()
    return tuple(
        PointPolicy(address=each.address, own=each.router == router.name, mode=domain.points_mode)
        for each in sorted(domain.points, key=lambda point: point.router)
    )


def pairs_of(domain: Domain, router: RouterEntry) -> tuple[PairPolicy, ...]:
    """The pairs of one approved router."""
    own = address_of_point(domain, router)
    pairs = []
    for other in sorted(domain.routers.values(), key=lambda entry: entry.name):
        theirs = address_of_point(domain, other)
        if other.name == router.name or not other.approved or (own is None and theirs is None):
            continue
        local = _speaking(domain, router, to_point=theirs is not None)
        remote = _speaking(domain, other, to_point=own is not None)
        if local and remote:
            pairs.append(
                PairPolicy(
                    router=other.name,
                    key=other.key,
                    index=other.spi.base >> _INDEX_SHIFT,
                    mode=domain.points_mode,
                    local=local,
                    remote=remote,
                    initiator=own is None or (theirs is not None and router.name < other.name),
                )
            )
    return tuple(pairs)


def pair_problems(domain: Domain) -> Iterator[str]:
    """The problems that prevent signing the domain's pairs, a sentence each."""
    points: dict[str, IPv4Address] = {}
    for point in domain.points:
        if point.router not in domain.routers:
            yield f"rendezvous point {point.router}: there is no such router"
        if point.router in points or point.address in points.values():
            yield f"rendezvous point {point.router}, {point.address}: its name or address is repeated"
        points[point.router] = point.address
    if not domain.points:
        return
    owner: dict[IPv4Address, str] = {
        interface.address.ip: router.name
        for router in domain.routers.values()
        for interface in router.interfaces
        if interface.address is not None
    }
    for router in domain.routers.values():
        if not speaks_pim(router) and router.name not in points:
            continue
        mine = {*sources(domain, router), *([points[router.name]] if router.name in points else [])}
        if len(mine) > MAX_PAIR_ADDRESSES:
            yield f"{router.name} has {len(mine)} pair addresses; the limit is {MAX_PAIR_ADDRESSES} (policy rp source)"
        for address in sorted(mine):
            if owner.setdefault(address, router.name) != router.name:
                yield f"{router.name} and {owner[address]} both have the address {address}"
            if address.is_multicast or address.is_unspecified or address.is_loopback or address.is_reserved:
                yield f"{router.name}: {address} is not the address of a host"
    yield from _on_a_link(domain, points)


def _on_a_link(domain: Domain, points: dict[str, IPv4Address]) -> Iterator[str]:
    """A pair whose two addresses share one link could not be distinguished from the neighbours there."""
    for adjacency in domain.adjacencies:
        ends = [(domain.routers.get(end.router), end.interface) for end in (adjacency.a, adjacency.b)]
        faces = []
        for router, name in ends:
            interface = router.interface(name) if router is not None else None
            if router is None or interface is None:
                break
            mine = {*(sources(domain, router) if speaks_pim(router) else ()), points.get(router.name)}
            faces.append(interface.address is not None and interface.address.ip in mine)
        if len(faces) == 2 and all(faces) and points.keys() & {adjacency.a.router, adjacency.b.router}:
            yield (
                f"adjacency {adjacency}: this link's two addresses are those of a rendezvous point and its pair; give "
                "one of them another: policy rp set ROUTER:LOOPBACK, or policy rp source ROUTER ADDRESS"
            )


__all__ = ["address_of_point", "pair_problems", "pairs_of", "points_of", "sources", "speaks_pim"]
