"""The steps by which an administrator changes a domain. Each takes a domain and gives a new one.

PolicyError gives the reason why a step is impossible. Knows nothing of versions, files or signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from typing import Any, Literal

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy.document import (
    MAX_INTERFACES,
    MAX_NEIGHBORS,
    MAX_PAIR_ADDRESSES,
    DksEntry,
    Issuer,
    ProtocolIssuer,
    SpiBlock,
    issuer_of,
)
from agents.policy.domain import (
    AdjacencyEntry,
    AdministratorEntry,
    Domain,
    End,
    GroupEntry,
    InterfaceEntry,
    Own,
    PointEntry,
    RouterEntry,
    Settings,
    field_word,
    without_address,
)
from agents.policy.errors import PolicyError
from agents.policy.keys import public_key_from_spki
from agents.policy.names import check_router
from agents.policy.pairs import sources, speaks_pim
from agents.policy.revocation import Revoked, RevokedRouter, key_hash
from agents.policy.spi import GENERATION_BITS, block_size


def add_router(domain: Domain, name: str, key: bytes, *, room: int = 4, approved: bool = False) -> Domain:
    """A new router with an SPI block of its own, for at least `room` interfaces. Not approved by default."""
    check_router(name)
    if name in domain.routers:
        raise PolicyError(f"there is already a router {name!r}")
    twin = next((each for each in domain.routers if each.lower() == name.lower()), None)
    if twin is not None:
        raise PolicyError(f"{name!r} differs from {twin!r} only in letter case, which host names ignore (RFC 4343)")
    public_key_from_spki(key)
    if any(each.key == key_hash(key) for each in domain.revoked_routers):
        raise PolicyError(f"that key is revoked: make a new key for {name}")
    size = block_size(room)
    if domain.next_spi + size > 1 << 32:
        raise PolicyError("the domain has no SPIs left for another router")
    block = SpiBlock(base=domain.next_spi, size=size, generation_bits=GENERATION_BITS)
    entry = RouterEntry(name=name, key=key, approved=approved, spi=block)
    return _with(domain, routers={**domain.routers, name: entry}, next_spi=domain.next_spi + size)


def approve_router(domain: Domain, name: str, key: bytes) -> Domain:
    """Approve a router under the key that the administrator has checked. PolicyError when it is another one."""
    entry = domain.router(name)
    if entry.key != key:
        raise PolicyError(f"{name} was added with a different key than the one to approve")
    return _replace(domain, entry.model_copy(update={"approved": True}))


def replace_router(domain: Domain, name: str, key: bytes) -> Domain:
    """Give a router another key, after a change of its machine or key. Interfaces, adjacencies and settings stay; the
    old key is revoked if it was approved, and the new one must be approved.

    The router gets a new SPI block: no SPI of the old key means a key of the new one.
    """
    entry = domain.router(name)
    if entry.key == key:
        raise PolicyError(f"{name} has this key already; allowed: a new one (lks init on the new machine)")
    size = entry.spi.size
    others = {each: router for each, router in domain.routers.items() if each != name}
    fresh = add_router(_with(domain, routers=others, revoked_routers=_revoking(domain, entry)), name, key)
    block = SpiBlock(base=domain.next_spi, size=size, generation_bits=entry.spi.generation_bits)
    if block.base + size > 1 << 32:
        raise PolicyError("the domain has no SPIs left for another router")
    replaced = entry.model_copy(update={"key": key, "approved": False, "spi": block})
    # In the old one's place, so that other documents list their neighbours in the same order.
    routers = {each: replaced if each == name else router for each, router in domain.routers.items()}
    return _with(fresh, routers=routers, next_spi=block.base + size)


def _revoking(domain: Domain, entry: RouterEntry) -> tuple[RevokedRouter, ...]:
    """With this router's key added, if it was approved and is not revoked yet: a rollback can bring a revoked key
    back."""
    key = key_hash(entry.key)
    if not entry.approved or any(each.key == key for each in domain.revoked_routers):
        return domain.revoked_routers
    return (*domain.revoked_routers, RevokedRouter(name=entry.name, key=key))


def remove_router(domain: Domain, name: str) -> Domain:
    """Remove a router and all its adjacencies, and revoke its key permanently if it was approved."""
    entry = domain.router(name)
    groups = tuple(
        each.model_copy(update={"routers": tuple(router for router in each.routers if router != name)})
        for each in domain.groups
    )
    return _with(
        domain,
        revoked_routers=_revoking(domain, entry),
        groups=groups,
        routers={each: entry for each, entry in domain.routers.items() if each != name},
        adjacencies=tuple(each for each in domain.adjacencies if name not in (each.a.router, each.b.router)),
        points=tuple(each for each in domain.points if each.router != name),
    )


def add_interface(
    domain: Domain,
    router: str,
    name: str,
    address: IPv4Interface | None,
    address6: IPv6Address,
    link: Literal["p2p", "lan"],
    protocols: Iterable[RoutingProtocol],
    mode: Mode = Mode.REQUIRED,
) -> Domain:
    """A new interface at the lowest free index; without an IPv4 `address`, with IPv6 only. PolicyError when the
    router's SPI block has no room for it, or a protocol needs an address."""
    entry = domain.router(router)
    if entry.interface(name) is not None:
        raise PolicyError(f"{router} already has an interface {name!r}")
    index = _lowest({each.index for each in entry.interfaces})
    if index >= MAX_INTERFACES or block_size(index + 1, entry.spi.generation_bits) > entry.spi.size:
        raise PolicyError(f"the SPI block of {router} has no room for another interface")
    added = InterfaceEntry(
        name=name,
        index=index,
        address=address,
        address6=address6,
        link=link,
        mode=mode,
        protocols=tuple(protocols),
    )
    _check_address(router, added)
    return _replace(domain, entry.model_copy(update={"interfaces": (*entry.interfaces, added)}))


def change_interface(domain: Domain, router: str, name: str, changes: Mapping[str, Any]) -> Domain:
    """Change fields of an interface: `address`, `address6`, `link`, `protocols`. A new protocol has the mode of the
    first one. PolicyError when there is no such interface, or a protocol needs an address."""
    entry = domain.router(router)
    interface = _interface(entry, name)
    after = interface.model_copy(update=dict(changes))
    kept = {each: interface.mode_of(each) for each in after.protocols}
    after = after.model_copy(update=after.model_copy(update={"modes": None}).with_modes(kept))
    _check_address(router, after)
    changed = tuple(after if each.name == name else each for each in entry.interfaces)
    return _replace(domain, entry.model_copy(update={"interfaces": changed}))


def remove_interface(domain: Domain, router: str, name: str) -> Domain:
    """Remove an interface and its adjacencies. PolicyError when there is no such interface."""
    entry = domain.router(router)
    _interface(entry, name)
    kept = tuple(each for each in entry.interfaces if each.name != name)
    removed = (router, name)
    domain = _with(
        domain, adjacencies=tuple(each for each in domain.adjacencies if removed not in each.router_interfaces)
    )
    return _replace(domain, entry.model_copy(update={"interfaces": kept}))


def _check_address(router: str, interface: InterfaceEntry) -> None:
    if bare := without_address(interface):
        at = f"{router}:{interface.name}"
        raise PolicyError(f"{at} has no IPv4 address, which {bare} needs\n  allowed: ospf6, pim6, or an address")


def _interface(entry: RouterEntry, name: str) -> InterfaceEntry:
    interface = entry.interface(name)
    if interface is None:
        raise PolicyError(f"{entry.name} has no interface {name!r}")
    return interface


def set_mode(domain: Domain, router: str, name: str, mode: Mode, protocols: Collection[RoutingProtocol] = ()) -> Domain:
    """Set the mode of an interface, or of these of its protocols."""
    entry = domain.router(router)
    interface = _interface(entry, name)
    unknown = [each.value for each in protocols if each not in interface.protocols]
    if unknown:
        allowed = ", ".join(each.value for each in interface.protocols) or "none: the interface has no protocol"
        raise PolicyError(f"{router}:{name} has no protocol {', '.join(unknown)}\n  allowed: {allowed}")
    wanted = dict.fromkeys(protocols or interface.protocols, mode)
    fields = interface.with_modes(wanted) if wanted else {"mode": mode, "modes": None}
    changed = tuple(each.model_copy(update=fields) if each.name == name else each for each in entry.interfaces)
    return _replace(domain, entry.model_copy(update={"interfaces": changed}))


def allow(domain: Domain, a: tuple[str, str], b: tuple[str, str]) -> Domain:
    """Allow two interfaces, (router, interface) each, to be neighbours."""
    for router, interface in (a, b):
        if domain.router(router).interface(interface) is None:
            raise PolicyError(f"{router} has no interface {interface!r}")
    if any(each.joins(a, b) for each in domain.adjacencies):
        raise PolicyError(f"{a[0]}:{a[1]} -- {b[0]}:{b[1]} is already allowed")
    ends = [
        End(router=router, interface=interface, index=_free_index(domain, router, interface))
        for router, interface in (a, b)
    ]
    return _with(domain, adjacencies=(*domain.adjacencies, AdjacencyEntry(a=ends[0], b=ends[1])))


def deny(domain: Domain, a: tuple[str, str], b: tuple[str, str]) -> Domain:
    """Remove an allowed adjacency."""
    kept = tuple(each for each in domain.adjacencies if not each.joins(a, b))
    if len(kept) == len(domain.adjacencies):
        raise PolicyError(f"{a[0]}:{a[1]} -- {b[0]}:{b[1]} is not an allowed adjacency")
    return _with(domain, adjacencies=kept)


def add_administrator(domain: Domain, name: str, key: bytes) -> Domain:
    """Let a person sign documents, once the root key has signed a delegation. PolicyError for a name or key that is in
    use, or was revoked."""
    if any(name == each.name or key == each.key for each in domain.administrators):
        raise PolicyError(f"there is already an administrator {name}, or one with this key")
    if any(each.key == key_hash(key) for each in domain.revoked_administrators):
        raise PolicyError("this key was revoked permanently: make a new one")
    return _with(domain, administrators=(*domain.administrators, AdministratorEntry(name=name, key=key)))


def revoke_administrator(domain: Domain, name: str) -> Domain:
    """Revoke an administrator's key permanently. PolicyError when there is no such administrator."""
    gone = [each for each in domain.administrators if each.name == name]
    if not gone:
        raise PolicyError(f"there is no administrator {name!r}")
    revoked = tuple(Revoked(name=each.name, key=key_hash(each.key)) for each in gone)
    return _with(
        domain,
        administrators=tuple(each for each in domain.administrators if each.name != name),
        revoked_administrators=(*domain.revoked_administrators, *revoked),
    )


def set_point(domain: Domain, router: str, address: IPv4Address | None = None) -> Domain:
    """Make a router a rendezvous point, at this address or that of its first PIM interface: every PIM router gets a
    pair with it. An existing rendezvous point gets the new address."""
    entry = domain.router(router)
    if address is None:
        if not speaks_pim(entry):
            raise PolicyError(f"{router} has no PIM interface: give the address, as {router}:ADDRESS")
        address = sources(domain, entry)[0]
    others = tuple(each for each in domain.points if each.router != router)
    return _with(domain, points=(*others, PointEntry(router=router, address=address)))


def unset_point(domain: Domain, router: str) -> Domain:
    """Make the router an ordinary router again."""
    kept = tuple(each for each in domain.points if each.router != router)
    if len(kept) == len(domain.points):
        raise PolicyError(f"{router} is not a rendezvous point")
    return _with(domain, points=kept)


def set_points_mode(domain: Domain, mode: Mode) -> Domain:
    """Set the mode of unicast PIM between routers and rendezvous points: one step at a time, as for interfaces."""
    if domain.points and abs(mode.step - domain.points_mode.step) > 1:
        raise PolicyError(
            f"from {domain.points_mode.value} to {mode.value} is more than one step, and routers get the change one "
            f"after the other; the steps are {', '.join(each.value for each in Mode)}"
        )
    return _with(domain, points_mode=mode)


def set_sources(domain: Domain, router: str, addresses: Iterable[IPv4Address]) -> Domain:
    """Set the source addresses of a router's PIM Registers; none: the addresses of its PIM interfaces."""
    given = tuple(dict.fromkeys(addresses))
    if len(given) > MAX_PAIR_ADDRESSES:
        raise PolicyError(f"{router} is given {len(given)} addresses; the limit is {MAX_PAIR_ADDRESSES}")
    return _replace(domain, domain.router(router).model_copy(update={"sources": given}))


def set_issuer(domain: Domain, issuer: Issuer, protocols: Collection[RoutingProtocol] = ()) -> Domain:
    """Set the issuer of the groups' keys in the whole domain, or for these protocols."""
    settings = domain.settings
    wanted = {each: issuer_of(settings.issuer, settings.issuers, each.value) for each in RoutingProtocol}
    wanted.update(dict.fromkeys(protocols or RoutingProtocol, issuer))
    usual = settings.issuer if protocols else issuer
    others = tuple(ProtocolIssuer(protocol=each, issuer=of) for each, of in wanted.items() if of != usual)
    return with_settings(domain, settings.model_copy(update={"issuer": usual, "issuers": others or None}))


def with_settings(domain: Domain, settings: Settings) -> Domain:
    """Change the settings of the domain."""
    return _with(domain, settings=settings)


def with_dks(domain: Domain, dks: DksEntry) -> Domain:
    """Change the DKS's key, addresses or port."""
    return _with(domain, dks=dks)


# -- settings of groups and routers -------------------------------------------------------------------


def set_own(
    domain: Domain, routers: Iterable[str], groups: Iterable[str], change: Callable[[Settings], Mapping[str, Any]]
) -> Domain:
    """Change settings of these routers and groups, or of the domain when none is named. `change`: the new fields, from
    the present ones."""
    routers, groups = tuple(routers), tuple(groups)
    if not routers and not groups:
        return with_settings(domain, domain.settings.model_copy(update=dict(change(domain.settings))))
    for name in groups:
        given = domain.group(name).own.given()
        fresh = change(domain.settings.model_copy(update=given))
        domain = _own_of_group(domain, name, {**given, **fresh})
    for name in routers:
        entry = domain.router(name)
        fresh = change(domain.settings_of(name))
        domain = _replace(domain, entry.model_copy(update={"own": Own(**{**entry.own.given(), **fresh})}))
    return domain


def unset_own(domain: Domain, routers: Iterable[str], groups: Iterable[str], field: str) -> Domain:
    """Remove this setting from these routers and groups. PolicyError for one that has none of its own."""
    for name in groups:
        domain = _own_of_group(domain, name, _without(domain.group(name).own, field, f"group {name}"))
    for name in routers:
        entry = domain.router(name)
        domain = _replace(domain, entry.model_copy(update={"own": Own(**_without(entry.own, field, f"router {name}"))}))
    return domain


def _without(own: Own, field: str, whose: str) -> dict[str, Any]:
    given = own.given()
    if field not in given:
        raise PolicyError(f"{whose} has no {field_word(field)} of its own")
    return {name: value for name, value in given.items() if name != field}


def _own_of_group(domain: Domain, name: str, own: Mapping[str, Any]) -> Domain:
    return _with_group(domain, domain.group(name).model_copy(update={"own": Own(**own)}))


def add_group(domain: Domain, name: str, routers: Iterable[str] = ()) -> Domain:
    """A new group of routers, which can have settings of its own."""
    if any(each.name == name for each in domain.groups):
        raise PolicyError(f"there is already a group {name!r}")
    return join_group(_with(domain, groups=(*domain.groups, GroupEntry(name=name))), name, routers)


def remove_group(domain: Domain, name: str) -> Domain:
    """Remove the group and its settings; its routers stay."""
    domain.group(name)
    return _with(domain, groups=tuple(each for each in domain.groups if each.name != name))


def join_group(domain: Domain, name: str, routers: Iterable[str]) -> Domain:
    """Add these routers to the group. PolicyError for an unknown one."""
    entry = domain.group(name)
    for each in (routers := tuple(routers)):
        domain.router(each)
    return _with_group(domain, entry.model_copy(update={"routers": tuple(dict.fromkeys((*entry.routers, *routers)))}))


def leave_group(domain: Domain, name: str, routers: Iterable[str]) -> Domain:
    """Remove these routers from the group. PolicyError for one that is not in it."""
    entry = domain.group(name)
    for each in (routers := tuple(routers)):
        if each not in entry.routers:
            raise PolicyError(f"{each} is not in group {name}")
    kept = tuple(each for each in entry.routers if each not in routers)
    return _with_group(domain, entry.model_copy(update={"routers": kept}))


def _with_group(domain: Domain, group: GroupEntry) -> Domain:
    return _with(domain, groups=tuple(group if each.name == group.name else each for each in domain.groups))


def _free_index(domain: Domain, router: str, interface: str) -> int:
    index = _lowest({index for index, _, _ in domain.neighbors(router, interface)})
    if index >= MAX_NEIGHBORS:
        raise PolicyError(f"{router}:{interface} has {MAX_NEIGHBORS} neighbours, which is the limit")
    return index


def _lowest(used: set[int]) -> int:
    return next(number for number in range(len(used) + 1) if number not in used)


def _replace(domain: Domain, entry: RouterEntry) -> Domain:
    return _with(domain, routers={**domain.routers, entry.name: entry})


def _with(domain: Domain, **changes: Any) -> Domain:
    return domain.model_copy(update=changes)
