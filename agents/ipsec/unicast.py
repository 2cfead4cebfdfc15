"""Policies and SAs for routing packets between routers that are no neighbours: PIM Register and Register-Stop.

A pure function on top of `plan.wanted_state`. Knows nothing of netlink or of how the keys came to be.

What Linux does, and what follows:

- pimd sends Registers and Register-Stops through an IP_HDRINCL socket that is bound to nothing. The kernel looks
  them up as protocol 255, with the source that the *route* would choose, not the one in their header. So outbound
  policies and SAs leave the source open, and one SA per destination sends.
- Inbound they are what they are: 103, with both addresses. An SA is held to its peer by a request id of the peer's own,
  which the policy of each of the peer's addresses asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network

from agents.ipsec.model import (
    Action,
    Direction,
    Policy,
    SaDirection,
    SecurityAssociation,
    Selector,
    Template,
    Wanted,
    host_network,
)
from agents.ipsec.plan import PAIR_REQIDS, RAW_PROTOCOL, REPLAY_WINDOW, algorithms, lifetime
from agents.ipsec.protection import Mode, RoutingProtocol, Suite

ANYWHERE = IPv4Network("0.0.0.0/0")
_UNSPECIFIED = IPv4Address(0)
_PRIORITY_OUT, _PRIORITY_OUT_REST = 84802, 84803  # after those of interfaces: a neighbour's policy names a device
_PRIORITY_IN, _PRIORITY_IN_GROUPS, _PRIORITY_IN_REST = 84950, 84998, 84999


@dataclass(frozen=True)
class UnicastPoint:
    """The destination of the protocol's unicast packets: a rendezvous point's address. `own`: this router is it."""

    address: IPv4Address
    protocol: RoutingProtocol
    mode: Mode
    own: bool


@dataclass(frozen=True)
class UnicastPeer:
    """A router for unicast packets. `index`: its own number, from which its request id follows."""

    index: int
    protocol: RoutingProtocol
    mode: Mode
    local: tuple[IPv4Address, ...]
    remote: tuple[IPv4Address, ...]


@dataclass(frozen=True)
class PairSa:
    """One direction of a Child SA with the peer of this index. `active`: send with this one."""

    spi: int
    suite: Suite
    keymat: bytes = field(repr=False)
    source: IPv4Address
    destination: IPv4Address
    index: int
    outbound: bool
    active: bool = True
    until: float = field(default=math.inf, compare=False)
    """As that of a `GroupSa`."""

    def __post_init__(self) -> None:
        if not 256 <= self.spi <= 0xFFFFFFFF:
            raise ValueError(f"SPI {self.spi:#x} is not in 0x100..0xffffffff (RFC 4303 §2.1)")
        if len(self.keymat) != self.suite.keymat_bytes:
            raise ValueError(f"{self.suite.value} takes {self.suite.keymat_bytes} bytes, not {len(self.keymat)}")


@dataclass(frozen=True)
class Unicast:
    """The unicast part of one router. SAs of other peers are left out."""

    points: tuple[UnicastPoint, ...] = ()
    peers: tuple[UnicastPeer, ...] = ()
    sas: tuple[PairSa, ...] = ()


NONE = Unicast()


def with_unicast(wanted: Wanted, unicast: Unicast, now: float = 0.0) -> Wanted:
    """`wanted` with the policies and SAs of unicast packets added.

    If an SA of `wanted` has the same destination and SPI, the pair's is left out: a peer chooses the SPI that we send
    with, and must not replace a group's key.
    """
    peers = {each.index: each for each in unicast.peers}
    if not unicast.points and not peers:
        return wanted
    taken = {each.identity for each in wanted.associations}
    associations: dict[object, SecurityAssociation] = {}
    usable = []
    for sa in unicast.sas:
        peer = peers.get(sa.index)
        if peer is None or (sa.outbound and peer.mode is Mode.CLEAR):
            continue
        association = _association(sa, peer, now)
        if association.identity not in taken and association.identity not in associations:
            associations[association.identity] = association
            usable.append(sa)
    policies = {each.identity: each for each in wanted.policies}
    for policy in (*_pairs(peers.values(), usable), *_rest(unicast.points, wanted)):
        policies.setdefault(policy.identity, policy)
    return replace(
        wanted,
        policies=tuple(sorted(policies.values(), key=lambda p: (p.priority, str(p)))),
        associations=tuple(sorted((*wanted.associations, *associations.values()), key=str)),
    )


def _pairs(peers: Iterable[UnicastPeer], sas: list[PairSa]) -> Iterator[Policy]:
    for peer in peers:
        reqid = PAIR_REQIDS[peer.index]
        number = peer.protocol.ip_protocol
        for remote in peer.remote:
            # Any active one will do: the peer accepts each from all our addresses. The first is the newest.
            key = next((each for each in sas if _sends(each, peer, remote)), None)
            for looked_up in (RAW_PROTOCOL, number) if peer.mode.protects else ():
                selector = Selector(ANYWHERE, host_network(remote), looked_up)
                if key is not None:
                    template = Template(reqid=reqid, spi=key.spi, optional=peer.mode is not Mode.REQUIRED)
                    yield Policy(selector, Direction.OUT, _PRIORITY_OUT, templates=(template,))
                elif peer.mode is Mode.REQUIRED:
                    yield Policy(selector, Direction.OUT, _PRIORITY_OUT, Action.BLOCK)
            if peer.mode is not Mode.CLEAR:
                heard = (Template(reqid=reqid, optional=peer.mode is not Mode.REQUIRED),)
                for local in peer.local:
                    selector = Selector(host_network(remote), host_network(local), number)
                    yield Policy(selector, Direction.IN, _PRIORITY_IN, templates=heard)


def _sends(sa: PairSa, peer: UnicastPeer, remote: IPv4Address) -> bool:
    return sa.outbound and sa.active and sa.index == peer.index and sa.destination == remote


def _rest(points: Iterable[UnicastPoint], wanted: Wanted) -> Iterator[Policy]:
    """The addresses without a pair. In `required`, unicast PIM from and to all others is dropped (RFC 7761 §6.3): a
    forged Register-Stop needs no address of the rendezvous point."""
    strict = [each for each in points if each.mode is Mode.REQUIRED]
    for point in strict:
        for looked_up in () if point.own else (RAW_PROTOCOL, point.protocol.ip_protocol):
            selector = Selector(ANYWHERE, host_network(point.address), looked_up)
            yield Policy(selector, Direction.OUT, _PRIORITY_OUT_REST, Action.BLOCK)
    for protocol in {each.protocol: None for each in strict}:
        number = protocol.ip_protocol
        for group in protocol.reserved_groups:
            # Selectors cannot exclude the group: it is accepted first, unless interfaces decide about it.
            selector = Selector(ANYWHERE, host_network(group), number)
            if not any((each.selector, each.direction) == (selector, Direction.IN) for each in wanted.policies):
                yield Policy(selector, Direction.IN, _PRIORITY_IN_GROUPS)
        yield Policy(Selector(ANYWHERE, ANYWHERE, number), Direction.IN, _PRIORITY_IN_REST, Action.BLOCK)


def _association(sa: PairSa, peer: UnicastPeer, now: float) -> SecurityAssociation:
    encryption, integrity, aead = algorithms(sa.suite, sa.keymat)
    if sa.outbound:
        source, selector = _UNSPECIFIED, Selector(ANYWHERE, host_network(sa.destination), 0)
    else:
        one = host_network(sa.source) if len(peer.remote) == 1 else ANYWHERE
        source, selector = sa.source, Selector(one, host_network(sa.destination), peer.protocol.ip_protocol)
    return SecurityAssociation(
        source=source,
        destination=sa.destination,
        spi=sa.spi,
        reqid=PAIR_REQIDS[peer.index],
        encryption=encryption,
        integrity=integrity,
        aead=aead,
        selector=selector,
        replay_window=0 if sa.outbound else REPLAY_WINDOW,
        direction=SaDirection.OUT if sa.outbound else SaDirection.IN,
        lifetime=lifetime(sa.until, now),
    )


__all__ = ["NONE", "PairSa", "Unicast", "UnicastPeer", "UnicastPoint", "with_unicast"]
