"""The problems that prevent signing a domain: a sentence for each inconsistency.

Knows nothing of documents, signatures or of how a domain is edited.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from agents.ikev2.config import PostQuantum
from agents.ipsec.protection import Mode
from agents.policy.domain import (
    MAX_ROUTERS,
    AdjacencyEntry,
    Domain,
    InterfaceEntry,
    field_word,
    settings_problems,
    without_address,
)
from agents.policy.errors import PolicyError
from agents.policy.keys import public_key_from_spki
from agents.policy.names import DKS_NAME, RESERVED
from agents.policy.pairs import pair_problems
from agents.policy.revocation import MAX_ADMINISTRATORS, key_hash


def problems(domain: Domain) -> list[str]:
    """The problems that prevent signing this domain, a sentence each; empty without any."""
    return [
        *_routers(domain),
        *_revoked(domain),
        *_addresses(domain),
        *_blocks(domain),
        *_adjacencies(domain),
        *_settings(domain),
        *pair_problems(domain),
    ]


def validate(domain: Domain) -> None:
    """PolicyError with all `problems`, if there are any."""
    sentences = problems(domain)
    if sentences:
        raise PolicyError("the domain is not consistent:\n" + "\n".join(f"  - {each}" for each in sentences))


def _doubles(values: Iterator[object] | list[object]) -> list[object]:
    return [value for value, count in Counter(values).items() if count > 1]


def _revoked(domain: Domain) -> Iterator[str]:
    hashes = {each.key: each.name for each in domain.revoked_routers}
    for router in domain.routers.values():
        if key_hash(router.key) in hashes:
            yield f"{router.name} has a revoked key: remove it, and add it again with a new one"
    gone = {each.key for each in domain.revoked_administrators}
    for administrator in domain.administrators:
        if key_hash(administrator.key) in gone:
            yield f"administrator {administrator.name} has a revoked key: policy admin revoke {administrator.name}"
    if len(domain.administrators) > MAX_ADMINISTRATORS:
        yield f"{len(domain.administrators)} administrators are more than {MAX_ADMINISTRATORS}"


def _routers(domain: Domain) -> Iterator[str]:
    if len(domain.routers) > MAX_ROUTERS:
        yield f"{len(domain.routers)} routers are more than {MAX_ROUTERS}"
    keys: dict[bytes, str] = {domain.dks.key: DKS_NAME}
    for name, router in domain.routers.items():
        if name != router.name or name in RESERVED:
            yield f"{name!r} cannot be a router's name here"
        if router.key in keys:
            yield f"{name} has the same key as {keys[router.key]}"
        keys[router.key] = name
        try:
            public_key_from_spki(router.key)
        except PolicyError as error:
            yield f"{name}: {error}"
        for double in _doubles([each.name for each in router.interfaces]):
            yield f"{name} has two interfaces {double}"
        for double in _doubles([each.index for each in router.interfaces]):
            yield f"{name} has two interfaces with index {double}"


def _addresses(domain: Domain) -> Iterator[str]:
    owner: dict[object, str] = {}
    for router in domain.routers.values():
        for interface in router.interfaces:
            at = f"{router.name}:{interface.name}"
            if not interface.address6.is_link_local:
                yield f"{at}: {interface.address6} is not a link-local address"
            if interface.address is None:
                if bare := without_address(interface):
                    yield f"{at} has no IPv4 address, which {bare} needs"
                continue
            address = interface.address.ip
            if address in owner:
                yield f"{at} and {owner[address]} have the same address {address}"
            owner[address] = at
            network = interface.address.network
            if network.prefixlen < 31 and address in (network.network_address, network.broadcast_address):
                yield f"{at}: {address} is not a host's address in {network}"
            elif address.is_multicast or address.is_loopback or address.is_reserved or address.is_unspecified:
                yield f"{at}: {address} is not an address of a host"


def _blocks(domain: Domain) -> Iterator[str]:
    ordered = sorted(domain.routers.values(), key=lambda router: router.spi.base)
    for lower, upper in itertools.pairwise(ordered):
        if lower.spi.base + lower.spi.size > upper.spi.base:
            yield f"the SPI blocks of {lower.name} and {upper.name} overlap"
    for router in ordered:
        if router.spi.base + router.spi.size > domain.next_spi:
            yield f"the SPI block of {router.name} reaches beyond the assigned SPIs"


def _adjacencies(domain: Domain) -> Iterator[str]:
    for double in _doubles([each.router_interfaces for each in domain.adjacencies]):
        yield f"adjacency {double} is repeated"
    used: dict[tuple[str, str, int], str] = {}
    count: Counter[tuple[str, str]] = Counter()
    for adjacency in domain.adjacencies:
        ends = []
        for end in (adjacency.a, adjacency.b):
            router = domain.routers.get(end.router)
            entry = router.interface(end.interface) if router else None
            if entry is None:
                yield f"adjacency {adjacency}: there is no {end}"
            else:
                ends.append(entry)
            slot = (*end.router_interface, end.index)
            if slot in used:
                yield f"adjacency {adjacency}: index {end.index} at {end} is used by {used[slot]}"
            used[slot] = str(adjacency)
            count[end.router_interface] += 1
        if len(ends) == 2:
            yield from _ends(adjacency, ends[0], ends[1])
    for (name, interface), number in count.items():
        entry = domain.routers[name].interface(interface) if name in domain.routers else None
        if entry is not None and entry.link == "p2p" and number > 1:
            yield f"{name}:{interface} is a point-to-point link and has {number} neighbours"


def _ends(adjacency: AdjacencyEntry, a: InterfaceEntry, b: InterfaceEntry) -> Iterator[str]:
    if adjacency.a.router == adjacency.b.router:
        yield f"adjacency {adjacency} connects a router with itself"
    if a.address is None or b.address is None:
        if a.address6 == b.address6:
            yield f"adjacency {adjacency}: both ends have the link-local address {a.address6}"
    elif a.address.network != b.address.network:
        yield f"adjacency {adjacency}: {a.address} and {b.address} are in different subnets"
    if a.link != b.link:
        yield f"adjacency {adjacency}: one end is {a.link}, the other {b.link}"
    if set(a.protocols) != set(b.protocols):
        yield f"adjacency {adjacency}: the ends protect different protocols"
    for protocol in set(a.protocols) & set(b.protocols):
        one, other = a.mode_of(protocol), b.mode_of(protocol)
        if abs(one.step - other.step) > 1:
            yield (
                f"adjacency {adjacency}: one end's {protocol.value} is {one.value} and the other's {other.value}, so "
                "they cannot understand each other; they may be one step apart "
                f"({', '.join(each.value for each in Mode)})"
            )


def settings_problems_of(domain: Domain) -> Iterator[str]:
    """The inconsistencies of the settings of the domain, its groups and its routers, a sentence each."""
    yield from settings_problems(domain.settings)
    groups = {each.name: each.own.given() for each in domain.groups}
    if not any(groups.values()) and not any(router.own.given() for router in domain.routers.values()):
        return
    owner: dict[tuple[str, str], str] = {}
    for group in domain.groups:
        for router, field in itertools.product(group.routers, groups[group.name]):
            other = owner.setdefault((router, field), group.name)
            if other != group.name and field not in domain.router(router).own.given():
                yield (
                    f"{router} is in the groups {other} and {group.name}, which both set {field_word(field)}; allowed: "
                    f"one of them, or one of its own (policy set {field_word(field)} --router {router})"
                )
    for name, settings in domain.every_settings():
        if settings != domain.settings:
            yield from settings_problems(settings, name)


def _settings(domain: Domain) -> Iterator[str]:
    yield from settings_problems_of(domain)
    settings = dict(domain.every_settings())
    for adjacency in domain.adjacencies:
        one, other = settings.get(adjacency.a.router), settings.get(adjacency.b.router)
        if one is None or other is None:
            continue
        if one.local_key_server is not other.local_key_server:
            yield (
                f"adjacency {adjacency}: one end has a Local Key Server and the other has none, so neither would get "
                "the other's keys; allowed: both or neither (policy set local-key-server)"
            )
        if {one.post_quantum, other.post_quantum} == {PostQuantum.REQUIRED, PostQuantum.OFF}:
            yield (
                f"adjacency {adjacency}: one end requires a post-quantum key exchange and the other's is off, so they "
                "reject each other; allowed: preferred between them (policy set post-quantum)"
            )
    if not domain.dks.addresses:
        yield "the DKS has no address"
    try:
        public_key_from_spki(domain.dks.key)
    except PolicyError as error:
        yield f"DKS: {error}"
