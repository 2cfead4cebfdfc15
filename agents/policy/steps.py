"""The changes that an administrator can make to a domain: one typed step for each command, for the command line and the
HTTP API.

`op` is the words of the command, joined by dots: command line and API can express the same. `apply` checks the step
against the domain and gives a new one. Knows nothing of HTTP, files or the caller.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from agents.ikev2.config import PostQuantum
from agents.ipsec.protection import Mode, RoutingProtocol, Suite
from agents.policy import edit
from agents.policy.document import (
    MAX_CARRIES,
    MAX_INTERFACES,
    MAX_PAIR_ADDRESSES,
    DksEntry,
    InterfaceName,
    Issuer,
    Lease,
    Lifetimes,
    Reconnect,
    RouterName,
)
from agents.policy.domain import Domain, Own, Settings, field_word
from agents.policy.durations import Duration
from agents.policy.errors import PolicyError
from agents.policy.keys import public_key_from_pem, spki
from agents.policy.problems import settings_problems_of
from agents.policy.spi import GENERATION_BITS
from agents.runtime import invalid

MAX_STEPS = 1000
MAX_NAMED = 20_000
MAX_BLOCK = 1 << (GENERATION_BITS - 1)
"""After a reboot generations continue after the block: with a larger one, an SPI from before would mean a new key while
neighbours still hold the old one."""
Pem = Annotated[str, Field(max_length=1000, description="An Ed25519 public key, PEM.")]
Routers = Annotated[tuple[RouterName, ...], Field(max_length=MAX_NAMED)]
Protocols = Annotated[
    tuple[RoutingProtocol, ...],
    Field(max_length=len(RoutingProtocol), description="Only these; empty: all."),
]


def _without_zone(address: IPv6Address) -> IPv6Address:
    """A zone is local to one machine (RFC 4007 §11), and not part of the signed content."""
    if address.scope_id is not None:
        raise ValueError(f"{address} has a zone; allowed: the address without %{address.scope_id}")
    return address


LinkLocal = Annotated[IPv6Address, AfterValidator(_without_zone)]


def _key(pem: str) -> bytes:
    return spki(public_key_from_pem(pem.encode()))


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class End(_Value):
    """An interface of a router."""

    router: RouterName
    interface: InterfaceName

    @property
    def router_interface(self) -> tuple[str, str]:
        """Router and interface."""
        return self.router, self.interface


class _Step(_Value, ABC):
    @abstractmethod
    def apply(self, domain: Domain) -> Domain:
        """The domain after this step. PolicyError when it is impossible."""


# -- routers, interfaces, adjacencies ---------------------------------------------------------------


class AddRouter(_Step):
    """Add a router, not approved yet."""

    op: Literal["router.add"] = "router.add"
    name: RouterName
    key: Pem
    room: int = Field(default=4, ge=1, le=MAX_INTERFACES, description="The number of interfaces to reserve SPIs for.")

    def apply(self, domain: Domain) -> Domain:
        return edit.add_router(domain, self.name, _key(self.key), room=self.room)


class ApproveRouter(_Step):
    """Approve a router under the key that the administrator has checked."""

    op: Literal["router.approve"] = "router.approve"
    name: RouterName
    key: Pem

    def apply(self, domain: Domain) -> Domain:
        return edit.approve_router(domain, self.name, _key(self.key))


class ReplaceRouter(_Step):
    """Give a router another key, which must be approved, and revoke its old one; everything else stays."""

    op: Literal["router.replace"] = "router.replace"
    name: RouterName
    key: Pem

    def apply(self, domain: Domain) -> Domain:
        return edit.replace_router(domain, self.name, _key(self.key))


class RemoveRouter(_Step):
    """Remove a router and its adjacencies, and revoke its key."""

    op: Literal["router.remove"] = "router.remove"
    name: RouterName

    def apply(self, domain: Domain) -> Domain:
        return edit.remove_router(domain, self.name)


class AddInterface(_Step):
    """Add an interface to a router."""

    op: Literal["interface.add"] = "interface.add"
    at: End
    address: IPv4Interface | None = Field(default=None, description="None: a link with IPv6 only.")
    link_local: LinkLocal
    link: Literal["p2p", "lan"] = "p2p"
    protocols: tuple[RoutingProtocol, ...] = Field(default=(RoutingProtocol.OSPF,), max_length=len(RoutingProtocol))
    mode: Mode = Mode.CLEAR

    def apply(self, domain: Domain) -> Domain:
        return edit.add_interface(
            domain, *self.at.router_interface, self.address, self.link_local, self.link, self.protocols, self.mode
        )


class ChangeInterface(_Step):
    """Change the given fields of an interface. A new protocol has the mode of the first one."""

    op: Literal["interface.change"] = "interface.change"
    at: End
    address: IPv4Interface | None = None
    link_local: LinkLocal | None = None
    link: Literal["p2p", "lan"] | None = None
    protocols: tuple[RoutingProtocol, ...] | None = Field(default=None, max_length=len(RoutingProtocol))

    def apply(self, domain: Domain) -> Domain:
        given = {
            "address": self.address,
            "address6": self.link_local,
            "link": self.link,
            "protocols": self.protocols,
        }
        changes = _given(given, "address, link_local, link or protocols")
        return edit.change_interface(domain, *self.at.router_interface, changes)


class RemoveInterface(_Step):
    """Remove an interface and its adjacencies."""

    op: Literal["interface.remove"] = "interface.remove"
    at: End

    def apply(self, domain: Domain) -> Domain:
        return edit.remove_interface(domain, *self.at.router_interface)


class SetMode(_Step):
    """Set an interface, or some of its protocols, to clear, listen, permissive or required."""

    op: Literal["interface.mode"] = "interface.mode"
    at: End
    mode: Mode
    protocols: Protocols = ()

    def apply(self, domain: Domain) -> Domain:
        return edit.set_mode(domain, *self.at.router_interface, self.mode, self.protocols)


class Allow(_Step):
    """Allow two interfaces to be neighbours."""

    op: Literal["adjacency.allow"] = "adjacency.allow"
    a: End
    b: End

    def apply(self, domain: Domain) -> Domain:
        return edit.allow(domain, self.a.router_interface, self.b.router_interface)


class Deny(_Step):
    """Remove an allowed adjacency."""

    op: Literal["adjacency.deny"] = "adjacency.deny"
    a: End
    b: End

    def apply(self, domain: Domain) -> Domain:
        return edit.deny(domain, self.a.router_interface, self.b.router_interface)


# -- rendezvous points ------------------------------------------------------------------------------


class SetPoint(_Step):
    """Make a router a rendezvous point; by default at the address of its first PIM interface."""

    op: Literal["rp.set"] = "rp.set"
    router: RouterName
    address: IPv4Address | None = None

    def apply(self, domain: Domain) -> Domain:
        return edit.set_point(domain, self.router, self.address)


class UnsetPoint(_Step):
    """Make the router an ordinary router again."""

    op: Literal["rp.unset"] = "rp.unset"
    router: RouterName

    def apply(self, domain: Domain) -> Domain:
        return edit.unset_point(domain, self.router)


class SetPointsMode(_Step):
    """Set unicast PIM with rendezvous points to clear, listen, permissive or required, a step at a time."""

    op: Literal["rp.mode"] = "rp.mode"
    mode: Mode

    def apply(self, domain: Domain) -> Domain:
        return edit.set_points_mode(domain, self.mode)


class SetSources(_Step):
    """Set the source addresses of a router's Registers; none: the addresses of its PIM interfaces."""

    op: Literal["rp.source"] = "rp.source"
    router: RouterName
    addresses: tuple[IPv4Address, ...] = Field(default=(), max_length=4 * MAX_PAIR_ADDRESSES)

    def apply(self, domain: Domain) -> Domain:
        return edit.set_sources(domain, self.router, self.addresses)


# -- administrators and groups ----------------------------------------------------------------------


class AddAdministrator(_Step):
    """Let a person sign documents, once the root key has signed a delegation."""

    op: Literal["admin.add"] = "admin.add"
    name: RouterName
    key: Pem

    def apply(self, domain: Domain) -> Domain:
        return edit.add_administrator(domain, self.name, _key(self.key))


class RevokeAdministrator(_Step):
    """Revoke an administrator's key permanently."""

    op: Literal["admin.revoke"] = "admin.revoke"
    name: RouterName

    def apply(self, domain: Domain) -> Domain:
        return edit.revoke_administrator(domain, self.name)


class AddGroup(_Step):
    """Make a group of routers, which can have settings of its own."""

    op: Literal["group.add"] = "group.add"
    name: RouterName
    routers: Routers = ()

    def apply(self, domain: Domain) -> Domain:
        return edit.add_group(domain, self.name, self.routers)


class RemoveGroup(_Step):
    """Remove a group and its settings. Its routers stay, with the domain's settings."""

    op: Literal["group.remove"] = "group.remove"
    name: RouterName

    def apply(self, domain: Domain) -> Domain:
        return edit.remove_group(domain, self.name)


class JoinGroup(_Step):
    """Put routers into a group."""

    op: Literal["group.join"] = "group.join"
    name: RouterName
    routers: Routers = Field(min_length=1)

    def apply(self, domain: Domain) -> Domain:
        return edit.join_group(domain, self.name, self.routers)


class LeaveGroup(_Step):
    """Take routers out of a group."""

    op: Literal["group.leave"] = "group.leave"
    name: RouterName
    routers: Routers = Field(min_length=1)

    def apply(self, domain: Domain) -> Domain:
        return edit.leave_group(domain, self.name, self.routers)


# -- settings ---------------------------------------------------------------------------------------


class SetDks(_Step):
    """Change the DKS's addresses, port or key."""

    op: Literal["set.dks"] = "set.dks"
    key: Pem | None = None
    addresses: tuple[IPv4Address | IPv6Address, ...] | None = Field(default=None, min_length=1, max_length=8)
    port: int | None = Field(default=None, ge=1, le=65535)

    def apply(self, domain: Domain) -> Domain:
        given = {
            "key": None if self.key is None else _key(self.key),
            "addresses": self.addresses and tuple(dict.fromkeys(self.addresses)),
            "port": self.port,
        }
        changes = _given(given, "key, addresses or port")
        return edit.with_dks(domain, _checked(DksEntry, dict(domain.dks), changes))


class SetIssuer(_Step):
    """Set which key server makes the keys of all groups, or of some protocols'."""

    op: Literal["set.issuer", "issuer"] = Field(default="set.issuer", description="issuer: as before 0.2.0.")
    issuer: Issuer
    protocols: Protocols = ()

    def apply(self, domain: Domain) -> Domain:
        return edit.set_issuer(domain, self.issuer, self.protocols)


class SetSuite(_Step):
    """Set the algorithms that protect routing packets. All groups get new keys."""

    op: Literal["set.suite"] = "set.suite"
    suite: Suite

    def apply(self, domain: Domain) -> Domain:
        return edit.with_settings(domain, domain.settings.model_copy(update={"suite": self.suite}))


class SetLifetimes(_Step):
    """Set how long keys live: `group_s` for groups, `ike_s` for IKE SAs; `atd_s`: delay from installing a new key to
    sending with it; `dtd_s`: time for which the previous key is still accepted (RFC 9838 §4.4.3)."""

    op: Literal["set.lifetimes"] = "set.lifetimes"
    group_s: Annotated[Duration, Field(ge=10, le=0xFFFFFFFF)] | None = None
    ike_s: Annotated[Duration, Field(ge=10, le=0xFFFFFFFF)] | None = None
    atd_s: Annotated[Duration, Field(le=65535)] | None = None
    dtd_s: Annotated[Duration, Field(le=65535)] | None = None

    def apply(self, domain: Domain) -> Domain:
        changes = _given(self.model_dump(exclude={"op"}), "group_s, ike_s, atd_s or dtd_s")
        lives = _checked(Lifetimes, dict(domain.settings.lifetimes), changes)
        return edit.with_settings(domain, domain.settings.model_copy(update={"lifetimes": lives}))


class _Scoped(_Step):
    """A setting of the domain, or of these routers and groups of routers only."""

    routers: Routers = ()
    groups: Routers = ()

    @abstractmethod
    def fields(self, now: Settings) -> Mapping[str, Any]:
        """The new fields, given the present settings."""

    def apply(self, domain: Domain) -> Domain:
        return edit.set_own(domain, self.routers, self.groups, self.fields)


class SetLocalKeyServer(_Scoped):
    """Set whether routers are key servers of their own groups. Neighbours must have the same."""

    op: Literal["set.local-key-server"] = "set.local-key-server"
    on: bool

    def fields(self, now: Settings) -> Mapping[str, Any]:
        return {"local_key_server": self.on}


class SetReconnect(_Scoped):
    """Set the schedule on which a router without the DKS visits it: the first wait is `first_min_s` to `first_max_s`,
    each further one `factor` longer up to `max_s`; each is shortened or prolonged by up to the fraction `jitter`."""

    op: Literal["set.reconnect"] = "set.reconnect"
    first_min_s: Annotated[Duration, Field(le=0xFFFFFFFF)] | None = None
    first_max_s: Annotated[Duration, Field(le=0xFFFFFFFF)] | None = None
    factor: float | None = Field(default=None, ge=1, le=16)
    max_s: Annotated[Duration, Field(ge=1, le=0xFFFFFFFF)] | None = None
    jitter: float | None = Field(default=None, ge=0, lt=1)

    def fields(self, now: Settings) -> Mapping[str, Any]:
        given = self.model_dump(include=set(Reconnect.model_fields))
        changes = _given(given, ", ".join(given))
        return {"reconnect": _checked(Reconnect, dict(now.reconnect), changes)}


class SetLease(_Scoped):
    """Set how long a router acts without an answer of the DKS, and whether it then closes or continues with an
    alarm."""

    op: Literal["set.lease"] = "set.lease"
    seconds: Annotated[Duration, Field(ge=1, le=0xFFFFFFFF)] | None = None
    at_end: Literal["close", "open"] | None = None

    def fields(self, now: Settings) -> Mapping[str, Any]:
        changes = _given({"seconds": self.seconds, "at_end": self.at_end}, "seconds or at_end")
        return {"lease": _checked(Lease, dict(now.lease), changes)}


class SetValidity(_Scoped):
    """Set how long documents are valid from their signature: a revocation list keeps the keys that they name for as
    long."""

    op: Literal["set.validity"] = "set.validity"
    validity_s: Annotated[Duration, Field(ge=60, le=1 << 33)]

    def fields(self, now: Settings) -> Mapping[str, Any]:
        return {"validity_s": self.validity_s}


class SetGenerationBlock(_Scoped):
    """Set how many generations of a group's keys a router reserves on the disk at once."""

    op: Literal["set.generation-block"] = "set.generation-block"
    size: int = Field(ge=1)

    @field_validator("size")
    @classmethod
    def _leaves_room(cls, size: int) -> int:
        if size > MAX_BLOCK:
            raise ValueError(
                f"at most {MAX_BLOCK}, half of the generations that SPIs distinguish: with more, after a reboot an "
                "SPI would mean a new key while neighbours still hold the old one"
            )
        return size

    def fields(self, now: Settings) -> Mapping[str, Any]:
        return {"generation_block": self.size}


class SetPostQuantum(_Scoped):
    """Set whether IKE uses ML-KEM-768 in addition to X25519: required, preferred (with every peer that supports it) or
    off."""

    op: Literal["set.post-quantum", "post-quantum"] = Field(
        default="set.post-quantum", description="post-quantum: as before 0.2.0."
    )
    asked: PostQuantum

    def fields(self, now: Settings) -> Mapping[str, Any]:
        return {"post_quantum": self.asked}


class SetCarries(_Scoped):
    """Set how many documents of the routers nearest to it a router carries, to give them to neighbours with older
    ones."""

    op: Literal["set.carries"] = "set.carries"
    count: int = Field(ge=0, le=MAX_CARRIES)

    def fields(self, now: Settings) -> Mapping[str, Any]:
        return {"carries": self.count}


OwnSetting = Literal[
    "local-key-server", "reconnect", "lease", "validity", "generation-block", "post-quantum", "carries"
]
OWN_SETTINGS: tuple[OwnSetting, ...] = get_args(OwnSetting)


class Unset(_Step):
    """Remove this setting from these routers or groups."""

    op: Literal["unset"] = "unset"
    setting: OwnSetting
    routers: Routers = ()
    groups: Routers = ()

    def apply(self, domain: Domain) -> Domain:
        if not self.routers and not self.groups:
            raise PolicyError(
                f"unset {self.setting} needs a router or a group, since the domain always has a value\n  allowed: "
                f"routers and groups with a {self.setting} of their own"
            )
        return edit.unset_own(domain, self.routers, self.groups, _FIELDS[self.setting])


_FIELDS = {field_word(field): field for field in Own.model_fields}


def _given(fields: Mapping[str, Any], allowed: str) -> dict[str, Any]:
    given = {name: value for name, value in fields.items() if value is not None}
    if not given:
        raise PolicyError(f"no setting was given\n  allowed: one or more of {allowed}")
    return given


_T = TypeVar("_T", bound=BaseModel)


def _checked(kind: type[_T], now: Mapping[str, Any], changes: Mapping[str, Any]) -> _T:
    try:
        return kind.model_validate({**now, **changes})
    except ValidationError as error:
        given = ", ".join(f"{name} = {value}" for name, value in changes.items())
        raise PolicyError(f"{invalid.sentence(error.errors()[0])} (given: {given})") from error


EditStep = Annotated[
    AddRouter
    | ApproveRouter
    | ReplaceRouter
    | RemoveRouter
    | AddInterface
    | ChangeInterface
    | RemoveInterface
    | SetMode
    | Allow
    | Deny
    | SetPoint
    | UnsetPoint
    | SetPointsMode
    | SetSources
    | AddAdministrator
    | RevokeAdministrator
    | AddGroup
    | RemoveGroup
    | JoinGroup
    | LeaveGroup
    | SetDks
    | SetIssuer
    | SetSuite
    | SetLifetimes
    | SetLocalKeyServer
    | SetReconnect
    | SetLease
    | SetValidity
    | SetGenerationBlock
    | SetPostQuantum
    | SetCarries
    | Unset,
    Field(discriminator="op"),
]


def take(domain: Domain, steps: Iterable[EditStep]) -> Domain:
    """The domain after these steps. PolicyError for the first impossible step, and when they make consistent settings
    inconsistent."""
    after = domain
    for step in steps:
        after = step.apply(after)
    check(domain, after)
    return after


def check(domain: Domain, after: Domain) -> None:
    """PolicyError when steps make consistent settings inconsistent."""
    before = set(settings_problems_of(domain))
    wrong = [each for each in settings_problems_of(after) if each not in before]
    if wrong:
        raise PolicyError("\n".join(wrong))
