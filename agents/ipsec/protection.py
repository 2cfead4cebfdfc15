"""What to protect and with which key: routing protocols, suites, modes, group SAs.

The vocabulary that the key-management layers share with `agents.ipsec`. Knows nothing of the kernel's structures
(`model`), of netlink, or of the origin of keys.
"""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Literal

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
LinkKind = Literal["p2p", "lan"]


class RoutingProtocol(Enum):
    """A routing protocol whose packets are protected; the value is its name in policy documents."""

    OSPF = "ospf"
    OSPF6 = "ospf6"
    PIM = "pim"
    PIM6 = "pim6"

    @property
    def ip_protocol(self) -> int:
        """The IP protocol number on the wire: 89 (OSPF) or 103 (PIM)."""
        return 89 if self in (RoutingProtocol.OSPF, RoutingProtocol.OSPF6) else 103

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return socket.AF_INET if self in (RoutingProtocol.OSPF, RoutingProtocol.PIM) else socket.AF_INET6

    @property
    def reserved_groups(self) -> tuple[IPAddress, ...]:
        """Every multicast group that belongs to the protocol alone, whatever the link."""
        return _GROUPS[self]

    @property
    def any_source(self) -> IPNetwork:
        """The network that holds every address of the protocol's family."""
        return _ANY[self.family]

    def multicast_destinations(self, link: LinkKind) -> tuple[IPAddress, ...]:
        """The groups a speaker sends to on a link of this kind: one traffic key each.

        OSPF uses AllDRouters on LANs only (RFC 2328 §8.1, RFC 5340 §4.2.1).
        """
        groups = self.reserved_groups
        return groups if link == "lan" else groups[:1]

    def unicast_on(self, link: LinkKind) -> bool:
        """True where neighbours also speak one to one and so need pair SAs."""
        return self.ip_protocol == 89 and link == "lan"


_RESERVED_GROUPS: dict[RoutingProtocol, tuple[str, ...]] = {
    RoutingProtocol.OSPF: ("224.0.0.5", "224.0.0.6"),
    RoutingProtocol.OSPF6: ("ff02::5", "ff02::6"),
    RoutingProtocol.PIM: ("224.0.0.13",),
    RoutingProtocol.PIM6: ("ff02::d",),
}
_GROUPS = {protocol: tuple(ip_address(group) for group in groups) for protocol, groups in _RESERVED_GROUPS.items()}
_ANY: dict[int, IPNetwork] = {socket.AF_INET: ip_network("0.0.0.0/0"), socket.AF_INET6: ip_network("::/0")}


class Mode(Enum):
    """The protection of one protocol on one interface: the steps of incremental deployment, in order.

    Each step changes either sending or receiving, never both. So neighbours that are at most one step apart can hear
    each other, whichever of them takes the step first.
    """

    CLEAR = "clear"
    """No protection is requested or given."""
    LISTEN = "listen"
    """Get keys and give them; send clear, accept both protected and cleartext packets."""
    PERMISSIVE = "permissive"
    """Protect sent packets if there is a key; accept both protected and cleartext packets."""
    REQUIRED = "required"
    """Send and accept nothing unprotected, with or without keys."""

    @property
    def step(self) -> int:
        """Its position on the way from `clear` (0) to `required` (3)."""
        return list(Mode).index(self)

    @property
    def protects(self) -> bool:
        """True if sent packets are protected when there is a key."""
        return self in (Mode.PERMISSIVE, Mode.REQUIRED)


@dataclass(frozen=True)
class SuiteParameters:
    """One ESP transform set. Lengths in bits; identifiers are IANA's "ikev2-parameters"."""

    encr_id: int
    encr_key_bits: int
    """Length of the cipher key, without salt; 0 for NULL."""
    integ_id: int | None
    integ_key_bits: int
    integ_trunc_bits: int
    salt_bits: int
    kernel_encr: str
    """The kernel crypto API's name for the cipher, or for the AEAD where `integ_id` is None."""
    kernel_integ: str | None
    group: bool
    """May be used for a group SA with the kernel's IV generator (RFC 9838 §2.7: no counter-mode cipher without a
    Sender-ID, and Linux' seqiv cannot carry one)."""


class Suite(Enum):
    """The ESP suites on offer. KEYMAT is encryption key, then salt or integrity key (RFC 7296 §2.17)."""

    ESP_NULL_SHA256 = "esp-null-sha256"
    ESP_AES128_SHA256 = "esp-aes128-sha256"
    ESP_AES256_SHA256 = "esp-aes256-sha256"
    ESP_AES128_GCM16 = "esp-aes128-gcm16"
    ESP_AES256_GCM16 = "esp-aes256-gcm16"
    ESP_CHACHA20_POLY1305 = "esp-chacha20-poly1305"

    @property
    def parameters(self) -> SuiteParameters:
        """Transform identifiers, key lengths and kernel names."""
        return _SUITES[self]

    @property
    def aead(self) -> bool:
        """True for a combined-mode cipher."""
        return self.parameters.integ_id is None

    @property
    def keymat_bytes(self) -> int:
        """The bytes of keying material of one SA."""
        p = self.parameters
        return (p.encr_key_bits + p.salt_bits + p.integ_key_bits) // 8

    @classmethod
    def default(cls) -> Suite:
        """The suite used where a policy names none."""
        return cls.ESP_AES128_SHA256


_SHA256 = "hmac(sha256)"
_SUITES: dict[Suite, SuiteParameters] = {
    Suite.ESP_NULL_SHA256: SuiteParameters(11, 0, 12, 256, 128, 0, "ecb(cipher_null)", _SHA256, True),
    Suite.ESP_AES128_SHA256: SuiteParameters(12, 128, 12, 256, 128, 0, "cbc(aes)", _SHA256, True),
    Suite.ESP_AES256_SHA256: SuiteParameters(12, 256, 12, 256, 128, 0, "cbc(aes)", _SHA256, True),
    Suite.ESP_AES128_GCM16: SuiteParameters(20, 128, None, 0, 128, 32, "rfc4106(gcm(aes))", None, False),
    Suite.ESP_AES256_GCM16: SuiteParameters(20, 256, None, 0, 128, 32, "rfc4106(gcm(aes))", None, False),
    Suite.ESP_CHACHA20_POLY1305: SuiteParameters(
        28, 256, None, 0, 128, 32, "rfc7539esp(chacha20,poly1305)", None, False
    ),
}


@dataclass(frozen=True)
class GroupSa:
    """One Data-Security SA of a speaker's group, or a pair SA (speaker → one neighbour).

    The same object describes both ends: `outbound` is True at the speaker.
    """

    spi: int
    suite: Suite
    keymat: bytes = field(repr=False)
    speaker: IPAddress
    destination: IPAddress
    protocol: RoutingProtocol
    interface: str
    outbound: bool
    generation: int
    active: bool = True
    """Outbound: send with this one. Of several active ones the highest generation is used. Inbound: no meaning, every
    inbound SA is accepted until it is removed."""
    replay_floor: int = 0
    """Inbound: sequence numbers up to and including this one are rejected as replays. Outbound: the last sequence
    number already used."""
    until: float = field(default=math.inf, compare=False)
    """The planned end, in seconds of the monotonic clock. The kernel itself removes the SA a little later."""

    def __post_init__(self) -> None:
        if not 256 <= self.spi <= 0xFFFFFFFF:
            raise ValueError(f"SPI {self.spi:#x} is not in 0x100..0xffffffff (RFC 4303 §2.1)")
        if len(self.keymat) != self.suite.keymat_bytes:
            raise ValueError(
                f"{self.suite.value} takes {self.suite.keymat_bytes} bytes of keying material, not {len(self.keymat)}"
            )
        if not 0 <= self.replay_floor <= 0xFFFFFFFF:
            raise ValueError(f"replay floor {self.replay_floor} is not a 32-bit number")
        if self.destination.is_multicast and not self.suite.parameters.group:
            raise ValueError(f"{self.suite.value} is a counter mode: not for a group SA")
        version = 4 if self.protocol.family == socket.AF_INET else 6
        if self.speaker.version != version or self.destination.version != version:
            raise ValueError(
                f"{self.protocol.value} needs IPv{version} addresses, not {self.speaker} → {self.destination}"
            )


@dataclass(frozen=True)
class ProtectedInterface:
    """One routing protocol on one interface of this router.

    `local` is the address the daemon sends from (IPv6: the link-local one), `subnet` the
    on-link sources (IPv6: fe80::/10), `neighbors` the allowed neighbours' addresses.
    """

    name: str
    protocol: RoutingProtocol
    mode: Mode
    link: LinkKind
    local: IPAddress
    subnet: IPNetwork
    neighbors: tuple[IPAddress, ...] = ()
