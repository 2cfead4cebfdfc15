"""The signed policy document: everything that one router gets from the Policy Server.

Values, their bounds, their octets and their signature. Knows nothing of where documents are kept, who carries them, or
what a router does with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from agents.ikev2.config import PostQuantum
from agents.ipsec.protection import IPAddress, Mode, RoutingProtocol, Suite
from agents.policy import cose
from agents.policy.delegation import split, verify_delegation
from agents.policy.errors import PolicyError
from agents.policy.exact import exactly, written
from agents.policy.keys import public_key_from_spki
from agents.policy.names import DOMAIN_PATTERN, INTERFACE_PATTERN, ROUTER_PATTERN, GroupId

LABEL = "router-keys/policy-document/1"
MAX_INTERFACES = 256
MAX_NEIGHBORS = 30
MAX_PAIRS = 20_000
MAX_PAIR_ADDRESSES = 8
MAX_CARRIES = 64

_U32 = 0xFFFFFFFF
Spki = Annotated[bytes, Field(min_length=40, max_length=200)]
DomainName = Annotated[str, StringConstraints(pattern=DOMAIN_PATTERN)]
RouterName = Annotated[str, StringConstraints(pattern=ROUTER_PATTERN)]
InterfaceName = Annotated[str, StringConstraints(pattern=INTERFACE_PATTERN)]
Issuer = Literal["lks", "dks"]
"""The kind of key server that makes a group's keys."""
Seconds = Annotated[int, Field(ge=0, le=_U32)]


class _Value(BaseModel):
    # In JSON (the Policy Server's store, not what is signed) octets are base64.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class SpiBlock(_Value):
    """The SPIs that this router may use as a speaker: `size` of them from `base`.

    The low `generation_bits` bits of the offset hold the group's generation: enough to distinguish all that are held.
    """

    base: int = Field(ge=0x10000, le=_U32)
    size: int = Field(ge=1, le=1 << 31)
    generation_bits: int = Field(ge=5, le=16)

    @model_validator(mode="after")
    def _fits(self) -> SpiBlock:
        if self.base + self.size > 1 << 32 or self.size % (1 << self.generation_bits):
            raise ValueError("the SPI block does not fit 32 bits, or is not a whole number of generations' rows")
        return self

    def holds(self, spi: int) -> bool:
        """True if this SPI belongs to the block."""
        return self.base <= spi < self.base + self.size


class DksEntry(_Value):
    """The DKS's addresses and key."""

    name: RouterName
    key: Spki
    addresses: tuple[IPv4Address | IPv6Address, ...] = Field(max_length=8)
    port: int = Field(default=848, ge=1, le=65535)


class Neighbor(_Value):
    """An allowed neighbour on one interface. `index` is its fixed place in the layout of pair SAs. Without an IPv4
    `address`, link-local addresses are used.

    `spi` is the neighbour's own block: this neighbour may give no SPI from outside it.
    """

    router: RouterName
    key: Spki
    interface: InterfaceName
    address: IPv4Address | None = None
    address6: IPv6Address
    index: int = Field(ge=0, lt=MAX_NEIGHBORS)
    spi: SpiBlock

    def address_for(self, protocol: RoutingProtocol) -> IPAddress:
        """The address from which it sends this protocol."""
        return _of(protocol, self.address, self.address6)


IPV4_PROTOCOLS = frozenset({RoutingProtocol.OSPF, RoutingProtocol.PIM})


def _of(protocol: RoutingProtocol, ipv4: IPv4Address | None, ipv6: IPv6Address) -> IPAddress:
    if protocol not in IPV4_PROTOCOLS:
        return ipv6
    assert ipv4 is not None, "an interface without an IPv4 address cannot have this protocol"
    return ipv4


class ProtocolMode(_Value):
    """The mode of one protocol of an interface, if it differs from the interface's own."""

    protocol: RoutingProtocol
    mode: Mode


class Modes:
    """The mode of each protocol of an interface. `mode` is that of the first protocol. `modes` names the protocols with
    another one, in the order of `protocols`, and is None without any. So every set of modes has one form."""

    if TYPE_CHECKING:  # fields of the subclass; pydantic would take them from here, in this order
        mode: Mode
        modes: tuple[ProtocolMode, ...] | None
        protocols: tuple[RoutingProtocol, ...]

    def mode_of(self, protocol: RoutingProtocol) -> Mode:
        """The mode of this protocol."""
        if not self.modes:
            return self.mode
        return next((each.mode for each in self.modes or () if each.protocol is protocol), self.mode)

    @property
    def protected(self) -> tuple[RoutingProtocol, ...]:
        """The protocols that have keys: those whose mode is not `clear`."""
        if not self.modes:
            return () if self.mode is Mode.CLEAR else self.protocols
        return tuple(each for each in self.protocols if self.mode_of(each) is not Mode.CLEAR)

    def by_protocol(self) -> dict[RoutingProtocol, Mode]:
        """Every protocol's mode."""
        return {each: self.mode_of(each) for each in self.protocols}

    def with_modes(self, wanted: Mapping[RoutingProtocol, Mode]) -> dict[str, Any]:
        """The fields `mode` and `modes` for these modes; other protocols keep their own."""
        modes = {**self.by_protocol(), **wanted}
        mode = next(iter(modes.values()), self.mode)
        others = tuple(ProtocolMode(protocol=each, mode=of) for each, of in modes.items() if of is not mode)
        return {"mode": mode, "modes": others or None}

    def check_modes(self) -> None:
        """ValueError unless the modes are in their one form."""
        named = [each.protocol for each in self.modes or ()]
        if not set(named) <= set(self.protocols):
            raise ValueError("a mode is given for a protocol that the interface does not have")
        fields = self.with_modes({})
        if (self.mode, self.modes) != (fields["mode"], fields["modes"]):
            raise ValueError("modes are not those that differ from the first protocol's, in the protocols' order")


class InterfacePolicy(Modes, _Value):
    """One interface: its protocols, modes and allowed neighbours. Without an IPv4 `address` and `subnet` it is a link
    with IPv6 only.

    `index` is its fixed place in the layout of SPIs; it does not change while the interface exists.
    """

    name: InterfaceName
    index: int = Field(ge=0, lt=MAX_INTERFACES)
    address: IPv4Address | None = None
    subnet: IPv4Network | None = None
    address6: IPv6Address
    link: Literal["p2p", "lan"]
    mode: Mode
    modes: tuple[ProtocolMode, ...] | None = Field(default=None, max_length=len(RoutingProtocol))
    protocols: tuple[RoutingProtocol, ...] = Field(max_length=len(RoutingProtocol))
    neighbors: tuple[Neighbor, ...] = Field(max_length=MAX_NEIGHBORS)

    @model_validator(mode="after")
    def _consistent(self) -> InterfacePolicy:
        if len(set(self.protocols)) != len(self.protocols):
            raise ValueError(f"interface {self.name} names a protocol twice")
        self.check_modes()
        routers = {(each.router, each.interface) for each in self.neighbors}
        addresses = {self.between(each)[1] for each in self.neighbors}
        indices = {each.index for each in self.neighbors}
        if not len(routers) == len(addresses) == len(indices) == len(self.neighbors):
            raise ValueError(f"interface {self.name} has two neighbours with one name, address or index")
        if addresses & {self.address, self.address6}:
            raise ValueError(f"interface {self.name} has a neighbour with the interface's own address")
        if (self.address is None) is not (self.subnet is None):
            raise ValueError(f"interface {self.name} has only one of address and subnet")
        bare = self.address is None or any(each.address is None for each in self.neighbors)
        if bare and IPV4_PROTOCOLS & set(self.protocols):
            raise ValueError(f"interface {self.name} has an IPv4 protocol, and an end without an IPv4 address")
        if self.subnet is not None:
            there = {each.router: each.address for each in self.neighbors if each.address is not None}
            outside = [router for router, address in there.items() if address not in self.subnet]
            if outside or self.address not in self.subnet:
                raise ValueError(f"interface {self.name}: not in {self.subnet}: {', '.join(outside) or 'own'}")
        return self

    def between(self, neighbor: Neighbor) -> tuple[IPAddress, IPAddress]:
        """Our address and the neighbour's for IKE: IPv4 if both have it."""
        if self.address is not None and neighbor.address is not None:
            return self.address, neighbor.address
        return self.address6, neighbor.address6

    @property
    def addresses(self) -> frozenset[IPAddress]:
        """Our addresses for IKE with neighbours: the interface is unusable until it has them all."""
        return frozenset(self.between(each)[0] for each in self.neighbors) or frozenset({self.address or self.address6})

    def local_for(self, protocol: RoutingProtocol) -> IPAddress:
        """Our own address for sending this protocol."""
        return _of(protocol, self.address, self.address6)

    def neighbor(self, router: str) -> Neighbor | None:
        """The neighbour of this name, if it is allowed here."""
        return next((each for each in self.neighbors if each.router == router), None)


class Lifetimes(_Value):
    """Seconds: of a group's key, of an IKE SA, activation and deactivation delays (RFC 9838 §4.4.3)."""

    group_s: int = Field(default=3600, ge=10, le=_U32)
    ike_s: int = Field(default=86400, ge=10, le=_U32)
    atd_s: int = Field(default=2, ge=0, le=65535)
    dtd_s: int = Field(default=5, ge=0, le=65535)


class Reconnect(_Value):
    """The schedule on which a router without the DKS visits it: the first wait is uniform in [first_min_s,
    first_max_s], each further one `factor` longer up to `max_s`; each is shortened or prolonged by up to the fraction
    `jitter`."""

    first_min_s: Seconds = 60
    first_max_s: Seconds = 600
    factor: float = Field(default=2.0, ge=1, le=16)
    max_s: Seconds = 3600
    jitter: float = Field(default=0.25, ge=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> Reconnect:
        if not self.first_min_s <= self.first_max_s:
            raise ValueError("reconnect: first_min_s is more than first_max_s")
        return self

    @property
    def longest_s(self) -> float:
        """The longest wait before a visit to the DKS, jitter included."""
        return max(self.first_max_s, max(self.max_s, 1) * (1 + self.jitter))


class Lease(_Value):
    """How long a router may act without the DKS, in seconds, and what it does at the end of that time."""

    seconds: Seconds = 30 * 86400
    at_end: Literal["close", "open"] = "close"


def _with_pairs(protocol: RoutingProtocol) -> RoutingProtocol:
    if protocol is not RoutingProtocol.PIM:
        raise ValueError(f"there are no pairs for {protocol.value}; allowed is pim")
    return protocol


UnicastProtocol = Annotated[RoutingProtocol, AfterValidator(_with_pairs)]


class ProtocolIssuer(_Value):
    """The issuer of one protocol's groups, if it differs from the document's `issuer`."""

    protocol: RoutingProtocol
    issuer: Issuer


def issuer_of(issuer: Issuer, issuers: tuple[ProtocolIssuer, ...] | None, protocol: str) -> Issuer:
    """The issuer of this protocol's groups, by the two fields `issuer` and `issuers`."""
    return next((each.issuer for each in issuers or () if each.protocol.value == protocol), issuer)


def issuer_problems(
    issuer: Issuer, issuers: tuple[ProtocolIssuer, ...] | None, *, local_key_server: bool
) -> Iterator[str]:
    """The inconsistencies of these fields. `issuers` has one form: the protocols that differ, in RoutingProtocol's
    order, or None."""
    order = list(RoutingProtocol)
    named = [order.index(each.protocol) for each in issuers or ()]
    if named != sorted(set(named)) or issuers == () or any(each.issuer == issuer for each in issuers or ()):
        yield "the issuers by protocol repeat issuer or each other, or are out of order"
    if not local_key_server and "lks" in (issuer, *(each.issuer for each in issuers or ())):
        yield "issuer lks needs local_key_server"


class PointPolicy(_Value):
    """A rendezvous point of the domain, the other end of unicast PIM. `own`: this router is it."""

    address: IPv4Address
    own: bool
    protocol: UnicastProtocol = RoutingProtocol.PIM
    mode: Mode


class PairPolicy(_Value):
    """A router with which this one exchanges unicast packets over several hops: one IKE SA, a Child SA for each pair of
    addresses.

    `index` is the peer's own permanent number, by which the kernel distinguishes its SAs. `initiator`: this router
    begins.
    """

    router: RouterName
    key: Spki
    index: int = Field(ge=0, lt=1 << 17)
    protocol: UnicastProtocol = RoutingProtocol.PIM
    mode: Mode
    local: tuple[IPv4Address, ...] = Field(min_length=1, max_length=MAX_PAIR_ADDRESSES)
    remote: tuple[IPv4Address, ...] = Field(min_length=1, max_length=MAX_PAIR_ADDRESSES)
    initiator: bool

    @model_validator(mode="after")
    def _distinct(self) -> PairPolicy:
        both = (*self.local, *self.remote)
        if len(set(both)) != len(both) or any(not _unicast(each) for each in both):
            raise ValueError(f"the pair with {self.router} repeats an address, or has one that no host can have")
        return self


def _unicast(address: IPv4Address) -> bool:
    return not (address.is_multicast or address.is_unspecified or address.is_loopback or address.is_reserved)


def _other(asked: PostQuantum) -> PostQuantum:
    if asked is PostQuantum.PREFERRED:
        raise ValueError("preferred is the default and must be left out")
    return asked


class PolicyDocument(_Value):
    """Everything that one router gets. Times are Unix seconds, UTC."""

    domain: DomainName
    router: RouterName
    version: int = Field(ge=1, le=(1 << 63) - 1)
    issued_at: int = Field(ge=0, le=1 << 40)
    expires_at: int = Field(ge=0, le=1 << 40)
    issuer: Issuer
    issuers: tuple[ProtocolIssuer, ...] | None = Field(default=None, max_length=len(RoutingProtocol))
    local_key_server: bool
    identity: Spki
    spi: SpiBlock
    dks: DksEntry
    interfaces: tuple[InterfacePolicy, ...] = Field(max_length=MAX_INTERFACES)
    points: tuple[PointPolicy, ...] = Field(default=(), max_length=64)
    pairs: tuple[PairPolicy, ...] = Field(default=(), max_length=MAX_PAIRS)
    suite: Suite = Suite.ESP_AES128_SHA256
    lifetimes: Lifetimes = Lifetimes()
    reconnect: Reconnect = Reconnect()
    lease: Lease = Lease()
    generation_block: int = Field(default=16, ge=1, le=1 << 16)
    post_quantum: Annotated[PostQuantum, AfterValidator(_other)] | None = None
    """Left out: preferred."""
    carries: tuple[RouterName, ...] | None = Field(default=None, max_length=MAX_CARRIES)
    """The routers whose documents this one carries beside its own, for neighbours with older ones. Left out: its
    neighbours."""

    @model_validator(mode="after")
    def _consistent(self) -> PolicyDocument:
        names = {each.name for each in self.interfaces}
        indices = {each.index for each in self.interfaces}
        if not len(names) == len(indices) == len(self.interfaces):
            raise ValueError("two interfaces share a name or index")
        if self.expires_at <= self.issued_at:
            raise ValueError("the document expires before it is issued")
        if not self.suite.parameters.group:
            raise ValueError(f"{self.suite.value} is a counter mode: not for a group SA")
        for problem in issuer_problems(self.issuer, self.issuers, local_key_server=self.local_key_server):
            raise ValueError(problem)
        if any(each.router == self.router for interface in self.interfaces for each in interface.neighbors):
            raise ValueError("a router cannot be its own neighbour")
        peers = {each.router for each in self.pairs}
        remote = [address for each in self.pairs for address in each.remote]
        if not len(peers) == len({each.index for each in self.pairs}) == len(self.pairs) or self.router in peers:
            raise ValueError("two pairs share a router or index, or a router is its own peer")
        if len(set(remote)) != len(remote) or set(remote) & {each for pair in self.pairs for each in pair.local}:
            raise ValueError("two pairs share a peer address, or it is the router's own")
        if self.carries is not None and (
            list(self.carries) != sorted(set(self.carries)) or self.router in self.carries
        ):
            raise ValueError("carries names the router itself, repeats a router, or is not in ascending order")
        return self

    @property
    def carried(self) -> tuple[str, ...]:
        """The routers whose documents this one carries beside its own."""
        if self.carries is not None:
            return self.carries
        return tuple(sorted({each.router for one in self.interfaces for each in one.neighbors})[:MAX_CARRIES])

    @property
    def key_exchange(self) -> PostQuantum:
        """Whether IKE SAs have a post-quantum key exchange."""
        return self.post_quantum or PostQuantum.PREFERRED

    def interface(self, name: str) -> InterfacePolicy | None:
        """The interface of this name, if the document has it."""
        return next((each for each in self.interfaces if each.name == name), None)

    def issuer_of(self, group: GroupId) -> Issuer:
        """The kind of key server that makes this group's keys, while both are reachable."""
        return issuer_of(self.issuer, self.issuers, group.protocol)

    def own_groups(self) -> tuple[GroupId, ...]:
        """The groups that this router is the speaker of, of protocols that are not `clear`."""
        return tuple(
            GroupId.of(self.domain, self.router, interface.name, protocol)
            for interface in self.interfaces
            for protocol in interface.protected
        )

    def neighbor_groups(self) -> tuple[tuple[InterfacePolicy, Neighbor, GroupId], ...]:
        """The groups of neighbours that this router listens to, with the interface."""
        return tuple(
            (interface, neighbor, GroupId.of(self.domain, neighbor.router, neighbor.interface, protocol))
            for interface in self.interfaces
            for protocol in interface.protected
            for neighbor in interface.neighbors
        )

    def speaks(self, group: GroupId) -> bool:
        """True if this is one of `own_groups`."""
        return (group.domain, group.router) == (self.domain, self.router) and any(
            each.name == group.interface and any(group.protocol == protocol.value for protocol in each.protected)
            for each in self.interfaces
        )

    def hears(self, group: GroupId) -> bool:
        """True if this is one of `neighbor_groups`."""
        speaker = (group.router, group.interface)
        return group.domain == self.domain and any(
            any((each.router, each.interface) == speaker for each in interface.neighbors)
            and any(group.protocol == protocol.value for protocol in interface.protected)
            for interface in self.interfaces
        )

    def may_join(self, group: GroupId, router: str) -> Neighbor | None:
        """The neighbour entry by which `router` may listen to this router's own `group`; None without one."""
        interface = self.interface(group.interface)
        if (group.domain, group.router) != (self.domain, self.router) or interface is None:
            return None
        if group.protocol not in {each.value for each in interface.protected}:
            return None
        return interface.neighbor(router)


# -- octets and signature ---------------------------------------------------------------------------


def encode_document(document: PolicyDocument) -> bytes:
    """The deterministic CBOR of a document."""
    return cose.verifier().written(document, written)


def decode_document(payload: bytes) -> PolicyDocument:
    """From CBOR; PolicyError unless it is exactly what `encode_document` makes."""
    return cose.verifier().read(payload, _decode)


def _decode(payload: bytes) -> PolicyDocument:
    document = exactly(PolicyDocument, payload, "policy document")
    public_key_from_spki(document.identity)
    public_key_from_spki(document.dks.key)
    for interface in document.interfaces:
        for neighbor in interface.neighbors:
            public_key_from_spki(neighbor.key)
    for pair in document.pairs:
        public_key_from_spki(pair.key)
    return document


def sign_document(document: PolicyDocument, key: Ed25519PrivateKey) -> bytes:
    """The document as COSE_Sign1."""
    return cose.sign(LABEL, encode_document(document), key)


def verify_document(
    data: bytes,
    key: Ed25519PublicKey,
    *,
    domain: str,
    router: str | None = None,
    minimum_version: int = 0,
    wall_s: float | None = None,
    revoked: Callable[[bytes], bool] | None = None,
) -> PolicyDocument:
    """The document, if this key, or the key of an administrator to whom this key delegates, signed it for this domain
    (and router), and it is not older than `minimum_version`. `wall_s`: Unix time at which the administrator's
    delegation must not have ended (None: not checked). `revoked`: True for a revoked administrator's key
    (SubjectPublicKeyInfo).

    The document's own expiry is not checked: a newer document is better than an older one whatever the clock says. The
    expiry bounds how long a revocation list keeps its entries (Revocations.outdated). Raises PolicyError.
    """
    delegation, signed = split(data)
    if delegation is not None:
        administrator, key = verify_delegation(delegation, key, domain=domain, wall_s=wall_s)
        if revoked is not None and revoked(administrator.key):
            raise PolicyError(f"the key of administrator {administrator.name} is revoked")
    document = decode_document(cose.verify(LABEL, signed, key))
    if document.domain != domain or (router is not None and document.router != router):
        wanted = f"{domain}/{router}" if router is not None else f"domain {domain}"
        raise PolicyError(f"the document is for {document.domain}/{document.router}, not for {wanted}")
    if document.version < minimum_version:
        raise PolicyError(f"the document has version {document.version}, older than {minimum_version}")
    return document
