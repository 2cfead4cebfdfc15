"""The domain as its administrator sees it: routers, their interfaces, allowed adjacencies, common settings.

Values, and the check of the whole that stands before every signature. Knows nothing of how a
domain is edited, kept, or turned into documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.ikev2.config import PostQuantum
from agents.ipsec.protection import Mode, RoutingProtocol, Suite
from agents.policy.document import (
    MAX_INTERFACES,
    MAX_NEIGHBORS,
    MAX_PAIR_ADDRESSES,
    DksEntry,
    DomainName,
    InterfaceName,
    Issuer,
    Lease,
    Lifetimes,
    Modes,
    ProtocolIssuer,
    ProtocolMode,
    Reconnect,
    RouterName,
    SpiBlock,
    Spki,
    issuer_problems,
)
from agents.policy.errors import PolicyError
from agents.policy.keys import public_key_from_spki
from agents.policy.names import DKS_NAME, RESERVED
from agents.policy.pairs import pair_problems
from agents.policy.revocation import MAX_ADMINISTRATORS, Revoked, RevokedRouter, key_hash
from agents.policy.spi import FIRST_BASE

MAX_ROUTERS = 20_000


class Value(BaseModel):
    """Frozen, closed; octets are base64 in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class InterfaceEntry(Modes, Value):
    """An interface of a router. `index` is allotted once and fixes its SPIs."""

    name: InterfaceName
    index: int = Field(ge=0, lt=MAX_INTERFACES)
    address: IPv4Interface
    address6: IPv6Address
    link: Literal["p2p", "lan"]
    mode: Mode
    modes: tuple[ProtocolMode, ...] | None = None
    protocols: tuple[RoutingProtocol, ...]

    @model_validator(mode="after")
    def _one_form(self) -> InterfaceEntry:
        self.check_modes()
        return self


class RouterEntry(Value):
    """A router. It gets a document, and stands in those of others, only when it is approved."""

    name: RouterName
    key: Spki
    approved: bool
    spi: SpiBlock
    interfaces: tuple[InterfaceEntry, ...] = ()
    sources: tuple[IPv4Address, ...] = Field(default=(), max_length=MAX_PAIR_ADDRESSES)
    """Where PIM Registers of this router come from; empty: what its PIM interfaces say."""

    def interface(self, name: str) -> InterfaceEntry | None:
        """The interface of this name."""
        return next((each for each in self.interfaces if each.name == name), None)


class End(Value):
    """One end of an adjacency. `index` is the place of the *other* end in this one's layout of pair SAs."""

    router: RouterName
    interface: InterfaceName
    index: int = Field(ge=0, lt=MAX_NEIGHBORS)

    @property
    def place(self) -> tuple[str, str]:
        return self.router, self.interface

    def __str__(self) -> str:
        return f"{self.router}:{self.interface}"


class AdjacencyEntry(Value):
    """Two interfaces that may be neighbours."""

    a: End
    b: End

    @property
    def places(self) -> frozenset[tuple[str, str]]:
        """What makes it the same adjacency, whichever end is named first."""
        return frozenset({self.a.place, self.b.place})

    def __str__(self) -> str:
        return f"{self.a} -- {self.b}"


class AdministratorEntry(Value):
    """Somebody who may sign documents in the domain's name."""

    name: RouterName
    key: Spki


class Settings(Value):
    """What holds for every router of the domain."""

    issuer: Issuer = "lks"
    issuers: tuple[ProtocolIssuer, ...] | None = None
    """Of protocols whose keys another kind of key server makes."""
    local_key_server: bool = True
    suite: Suite = Suite.ESP_AES128_SHA256
    lifetimes: Lifetimes = Lifetimes()
    reconnect: Reconnect = Reconnect()
    lease: Lease = Lease()
    generation_block: int = Field(default=16, ge=1, le=1 << 16)
    validity_s: int = Field(default=90 * 86400, ge=60, le=1 << 33)
    """How long a document is valid from its signature, in seconds."""
    post_quantum: PostQuantum = PostQuantum.PREFERRED
    """Whether IKE SAs have ML-KEM-768 beside X25519."""


class PointEntry(Value):
    """A rendezvous point of PIM: a router, and its address as such."""

    router: RouterName
    address: IPv4Address


class Domain(Value):
    """The whole domain at one moment."""

    name: DomainName
    dks: DksEntry
    settings: Settings = Settings()
    routers: dict[str, RouterEntry] = {}
    adjacencies: tuple[AdjacencyEntry, ...] = ()
    points: tuple[PointEntry, ...] = ()
    points_mode: Mode = Mode.REQUIRED
    """What is asked of unicast PIM between routers and rendezvous points."""
    next_spi: int = Field(default=FIRST_BASE, ge=FIRST_BASE, le=1 << 32)
    """Where the next router's SPI block begins: a removed router's block is not given to another."""
    administrators: tuple[AdministratorEntry, ...] = ()
    documents_until: int = Field(default=0, ge=0, le=1 << 41)
    """Unix seconds at which the last of all documents ever signed expires; 0: not known yet."""
    revoked_routers: tuple[RevokedRouter, ...] = ()
    revoked_administrators: tuple[Revoked, ...] = ()
    """Keys that never count again: a removed router comes back with another key or not at all."""

    def router(self, name: str) -> RouterEntry:
        """The router of this name. PolicyError when there is none."""
        if name not in self.routers:
            raise PolicyError(f"there is no router {name!r} in domain {self.name}")
        return self.routers[name]

    def neighbors(self, router: str, interface: str) -> Iterator[tuple[int, RouterEntry, InterfaceEntry]]:
        """Place, router and interface of every neighbour that is allowed there, approved or not."""
        for adjacency in self.adjacencies:
            for here, there in ((adjacency.a, adjacency.b), (adjacency.b, adjacency.a)):
                if here.place == (router, interface):
                    other = self.router(there.router)
                    entry = other.interface(there.interface)
                    if entry is not None:
                        yield here.index, other, entry


def problems(domain: Domain) -> list[str]:
    """Everything that stands against signing this domain, a sentence each; empty when nothing does."""
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
    found = problems(domain)
    if found:
        raise PolicyError("the domain is not consistent:\n" + "\n".join(f"  - {each}" for each in found))


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
            yield f"a router cannot be called {name!r} here"
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
            place = f"{router.name}:{interface.name}"
            address = interface.address.ip
            if address in owner:
                yield f"{place} and {owner[address]} have the same address {address}"
            owner[address] = place
            if not interface.address6.is_link_local:
                yield f"{place}: {interface.address6} is not a link-local address"
            network = interface.address.network
            if network.prefixlen < 31 and address in (network.network_address, network.broadcast_address):
                yield f"{place}: {address} is not a host's address in {network}"


def _blocks(domain: Domain) -> Iterator[str]:
    ordered = sorted(domain.routers.values(), key=lambda router: router.spi.base)
    for lower, upper in pairwise(ordered):
        if lower.spi.base + lower.spi.size > upper.spi.base:
            yield f"the SPI blocks of {lower.name} and {upper.name} overlap"
    for router in ordered:
        if router.spi.base + router.spi.size > domain.next_spi:
            yield f"the SPI block of {router.name} reaches beyond what has been given out"


def _adjacencies(domain: Domain) -> Iterator[str]:
    for double in _doubles([each.places for each in domain.adjacencies]):
        yield f"adjacency {double} is there twice"
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
            if (*end.place, end.index) in used:
                yield f"adjacency {adjacency}: index {end.index} at {end} is used by {used[(*end.place, end.index)]}"
            used[(*end.place, end.index)] = str(adjacency)
            count[end.place] += 1
        if len(ends) == 2:
            yield from _ends(adjacency, ends[0], ends[1])
    for (name, interface), number in count.items():
        entry = domain.routers[name].interface(interface) if name in domain.routers else None
        if entry is not None and entry.link == "p2p" and number > 1:
            yield f"{name}:{interface} is a point-to-point link and has {number} neighbours"


def _ends(adjacency: AdjacencyEntry, a: InterfaceEntry, b: InterfaceEntry) -> Iterator[str]:
    if adjacency.a.router == adjacency.b.router:
        yield f"adjacency {adjacency} is of one router with itself"
    if a.address.network != b.address.network:
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
                f"they cannot hear each other; allowed is one step apart ({', '.join(each.value for each in Mode)})"
            )


def settings_problems(settings: Settings) -> Iterator[str]:
    """What of the settings does not fit together."""
    yield from issuer_problems(settings.issuer, settings.issuers, local_key_server=settings.local_key_server)
    if not settings.suite.parameters.group:
        yield f"{settings.suite.value} is a counter mode: not for a group SA"
    if settings.lifetimes.atd_s + settings.lifetimes.dtd_s >= settings.lifetimes.group_s:
        yield "the delays atd_s + dtd_s are not shorter than group_s"


def _settings(domain: Domain) -> Iterator[str]:
    yield from settings_problems(domain.settings)
    if not domain.dks.addresses:
        yield "the DKS has no address"
    try:
        public_key_from_spki(domain.dks.key)
    except PolicyError as error:
        yield f"DKS: {error}"
