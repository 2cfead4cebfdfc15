"""The domain as its administrator sees it: routers, their interfaces, allowed adjacencies, common settings.

Values; `problems` checks the whole before every signature. Knows nothing of how a
domain is edited, kept, or turned into documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
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
from agents.policy.revocation import Revoked, RevokedRouter
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

    def joins(self, one: tuple[str, str], other: tuple[str, str]) -> bool:
        """Whether it is that of these two places, (router, interface) each, in either order."""
        a = self.a.place
        return (a == one and self.b.place == other) or (a == other and self.b.place == one)

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
                if here.router == router and here.interface == interface:
                    other = self.router(there.router)
                    entry = other.interface(there.interface)
                    if entry is not None:
                        yield here.index, other, entry


def settings_problems(settings: Settings) -> Iterator[str]:
    """What of the settings does not fit together."""
    yield from issuer_problems(settings.issuer, settings.issuers, local_key_server=settings.local_key_server)
    if not settings.suite.parameters.group:
        yield f"{settings.suite.value} is a counter mode: not for a group SA"
    if settings.lifetimes.atd_s + settings.lifetimes.dtd_s >= settings.lifetimes.group_s:
        yield "the delays atd_s + dtd_s are not shorter than group_s"
