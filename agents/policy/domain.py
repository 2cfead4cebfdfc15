"""The domain as its administrator sees it: routers, their interfaces, allowed adjacencies, common settings.

Values; `problems` checks the whole before every signature. Knows nothing of how a domain is edited, kept, or turned
into documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.ikev2.config import PostQuantum
from agents.ipsec.protection import Mode, RoutingProtocol, Suite
from agents.policy.document import (
    IPV4_PROTOCOLS,
    MAX_CARRIES,
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
from agents.policy.durations import spell
from agents.policy.errors import PolicyError
from agents.policy.revocation import Revoked, RevokedRouter
from agents.policy.spi import FIRST_BASE

MAX_ROUTERS = 20_000
CARRIES = 16
"""How many documents each router of a new domain carries: in small networks all, in large ones those around it."""


class Value(BaseModel):
    """Frozen, closed; octets are base64 in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class InterfaceEntry(Modes, Value):
    """An interface of a router. `index` is assigned once and fixes its SPIs. Without an `address` it is a link with
    IPv6 only."""

    name: InterfaceName
    index: int = Field(ge=0, lt=MAX_INTERFACES)
    address: IPv4Interface | None = None
    address6: IPv6Address
    link: Literal["p2p", "lan"]
    mode: Mode
    modes: tuple[ProtocolMode, ...] | None = None
    protocols: tuple[RoutingProtocol, ...]

    @model_validator(mode="after")
    def _one_form(self) -> InterfaceEntry:
        self.check_modes()
        return self


class Own(Value):
    """A router's or a group's own settings. None: inherited from the group or the domain.

    Settings on which all members of a group of keys must agree are not here: issuer, suite, lifetimes.
    """

    local_key_server: bool | None = None
    reconnect: Reconnect | None = None
    lease: Lease | None = None
    generation_block: int | None = Field(default=None, ge=1, le=1 << 16)
    validity_s: int | None = Field(default=None, ge=60, le=1 << 33)
    post_quantum: PostQuantum | None = None
    carries: int | None = Field(default=None, ge=0, le=MAX_CARRIES)

    def given(self) -> dict[str, object]:
        """The settings that have a value."""
        return {name: getattr(self, name) for name in Own.model_fields if getattr(self, name) is not None}


def field_word(field: str) -> str:
    """The name of a setting on the command line: validity_s is `validity`."""
    return field.removesuffix("_s").replace("_", "-")


class GroupEntry(Value):
    """Routers with common settings. A router's own setting overrides that of its group."""

    name: RouterName
    routers: tuple[RouterName, ...] = ()
    own: Own = Own()


def without_address(interface: InterfaceEntry) -> str:
    """The protocols of an interface that need an IPv4 address it lacks; empty: no problem."""
    bare = () if interface.address is not None else interface.protocols
    return ", ".join(each.value for each in bare if each in IPV4_PROTOCOLS)


class RouterEntry(Value):
    """A router. It gets a document, and is in others' documents, only when it is approved."""

    name: RouterName
    key: Spki
    approved: bool
    spi: SpiBlock
    interfaces: tuple[InterfaceEntry, ...] = ()
    sources: tuple[IPv4Address, ...] = Field(default=(), max_length=MAX_PAIR_ADDRESSES)
    """The source addresses of this router's PIM Registers; empty: derived from its PIM interfaces."""
    own: Own = Own()

    def interface(self, name: str) -> InterfaceEntry | None:
        """The interface of this name."""
        return next((each for each in self.interfaces if each.name == name), None)


class End(Value):
    """One end of an adjacency. `index` is the place of the *other* end in this one's layout of pair SAs."""

    router: RouterName
    interface: InterfaceName
    index: int = Field(ge=0, lt=MAX_NEIGHBORS)

    @property
    def router_interface(self) -> tuple[str, str]:
        return self.router, self.interface

    def __str__(self) -> str:
        return f"{self.router}:{self.interface}"


class AdjacencyEntry(Value):
    """Two interfaces that may be neighbours."""

    a: End
    b: End

    @property
    def router_interfaces(self) -> frozenset[tuple[str, str]]:
        """Its identity, whichever end is named first."""
        return frozenset({self.a.router_interface, self.b.router_interface})

    def joins(self, one: tuple[str, str], other: tuple[str, str]) -> bool:
        """True if it joins these two places, (router, interface) each, in either order."""
        a = self.a.router_interface
        return (a == one and self.b.router_interface == other) or (a == other and self.b.router_interface == one)

    def __str__(self) -> str:
        return f"{self.a} -- {self.b}"


class AdministratorEntry(Value):
    """A person or process that may sign documents in the domain's name."""

    name: RouterName
    key: Spki


class Settings(Value):
    """The settings of every router of the domain."""

    issuer: Issuer = "lks"
    issuers: tuple[ProtocolIssuer, ...] | None = None
    """Protocols whose keys another kind of key server makes."""
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
    carries: int | None = Field(default=None, ge=0, le=MAX_CARRIES)
    """How many documents of the routers nearest to it each router carries; None: its neighbours', and documents do not
    contain the field, as for agents before it existed."""


class PointEntry(Value):
    """A rendezvous point of PIM: a router, and its address in that role."""

    router: RouterName
    address: IPv4Address


class Domain(Value):
    """The whole domain at one moment."""

    name: DomainName
    dks: DksEntry
    settings: Settings = Settings()
    routers: dict[str, RouterEntry] = {}
    adjacencies: tuple[AdjacencyEntry, ...] = ()
    groups: tuple[GroupEntry, ...] = ()
    points: tuple[PointEntry, ...] = ()
    points_mode: Mode = Mode.REQUIRED
    """The mode of unicast PIM between routers and rendezvous points."""
    next_spi: int = Field(default=FIRST_BASE, ge=FIRST_BASE, le=1 << 32)
    """The start of the next router's SPI block: a removed router's block is never reused."""
    administrators: tuple[AdministratorEntry, ...] = ()
    documents_until: int = Field(default=0, ge=0, le=1 << 41)
    """Unix seconds at which the last of all documents ever signed expires; 0: not known yet."""
    revoked_routers: tuple[RevokedRouter, ...] = ()
    revoked_administrators: tuple[Revoked, ...] = ()
    """Keys that are revoked permanently: a removed router comes back with another key or not at all."""

    def router(self, name: str) -> RouterEntry:
        """The router of this name. PolicyError when there is none."""
        if name not in self.routers:
            raise PolicyError(f"there is no router {name!r} in domain {self.name}")
        return self.routers[name]

    def group(self, name: str) -> GroupEntry:
        """The group of this name. PolicyError when there is none."""
        entry = next((each for each in self.groups if each.name == name), None)
        if entry is None:
            known = ", ".join(each.name for each in self.groups) or "none: policy group add NAME ROUTER..."
            raise PolicyError(f"there is no group {name!r} in domain {self.name}\n  allowed: {known}")
        return entry

    def settings_of(self, router: str) -> Settings:
        """The settings of this router: its own, else those of its groups, else the domain's."""
        groups = (each.own.given() for each in self.groups if router in each.routers)
        changes = {
            name: value for given in (*groups, self.routers[router].own.given()) for name, value in given.items()
        }
        return self.settings.model_copy(update=changes) if changes else self.settings

    def every_settings(self) -> Iterator[tuple[str, Settings]]:
        """Each router with its settings: as `settings_of`, for all at once."""
        groups: dict[str, dict[str, object]] = {}
        for group in self.groups:
            for name in group.routers:
                groups.setdefault(name, {}).update(group.own.given())
        for name, router in self.routers.items():
            changes = {**groups.get(name, {}), **router.own.given()}
            yield name, self.settings.model_copy(update=changes) if changes else self.settings

    @property
    def longest_validity_s(self) -> int:
        """The longest validity of a document of any router from its signature, in seconds."""
        own = [*(each.own for each in self.groups), *(each.own for each in self.routers.values())]
        return max(self.settings.validity_s, *(each.validity_s or 0 for each in own), 0)

    def neighbors(self, router: str, interface: str) -> Iterator[tuple[int, RouterEntry, InterfaceEntry]]:
        """Place, router and interface of every neighbour that is allowed there, approved or not."""
        for adjacency in self.adjacencies:
            for here, there in ((adjacency.a, adjacency.b), (adjacency.b, adjacency.a)):
                if here.router == router and here.interface == interface:
                    other = self.router(there.router)
                    entry = other.interface(there.interface)
                    if entry is not None:
                        yield here.index, other, entry


def settings_problems(settings: Settings, whose: str = "the domain") -> Iterator[str]:
    """The inconsistencies of the settings."""
    for problem in issuer_problems(settings.issuer, settings.issuers, local_key_server=settings.local_key_server):
        yield problem if whose == "the domain" else f"{whose}: {problem}"
    if not settings.suite.parameters.group:
        allowed = ", ".join(each.value for each in Suite if each.parameters.group)
        yield f"suite {settings.suite.value} is a counter mode: not for a group SA; allowed: {allowed}"
    lives = settings.lifetimes
    if lives.atd_s + lives.dtd_s >= lives.group_s:
        yield (
            f"the delays atd_s + dtd_s are not shorter than group_s: {spell(lives.atd_s)} + {spell(lives.dtd_s)} "
            f"against {spell(lives.group_s)}, so keys would end before their successors are in use"
        )
    wait = settings.reconnect.longest_s if settings.local_key_server else 0
    if settings.lease.seconds <= wait:
        yield (
            f"{whose}: the lease of {spell(settings.lease.seconds)} is not longer than the wait between two visits to "
            f"the DKS, up to {spell(wait)} by the reconnection schedule, so it would end between two visits; allowed: "
            "a longer lease, or shorter waits (policy set reconnect)"
        )
