"""Names of domains, routers, interfaces and groups, and their form in IKE identities.

Knows nothing of messages: it reads and writes an identity's octets only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from agents.ipsec.protection import RoutingProtocol
from agents.policy.errors import PolicyError

DKS_NAME = "dks"
RESERVED = frozenset({DKS_NAME, "revocation"})
"""Reserved names: parties, and files NAME.cose, that are not routers."""
CONTROL_INTERFACE, CONTROL_PROTOCOL = "-", "policy"
MAX_GROUP_OCTETS = 256
_REMEMBERED = 128
"""The number of names that are cached: each is read several times in a handshake."""

DOMAIN_PATTERN = ROUTER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""Allowed as one part of a path too, since names become file names."""
INTERFACE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,14}$"

_RULE = "up to 63 letters, digits and . _ -, a letter or digit first"
PATTERNS = {
    DOMAIN_PATTERN: _RULE,
    INTERFACE_PATTERN: "up to 15 letters, digits and . _ : @ -, a letter or digit first",
}
"""The patterns in words, for a message."""

_DOMAIN = re.compile(DOMAIN_PATTERN + r"\Z")
_ROUTER = re.compile(ROUTER_PATTERN + r"\Z")
_INTERFACE = re.compile(INTERFACE_PATTERN + r"\Z")
_PROTOCOLS = frozenset(protocol.value for protocol in RoutingProtocol)


def check_router(name: str) -> str:
    """The name itself; PolicyError when it cannot be a router's name."""
    if not _ROUTER.match(name) or name.lower() in RESERVED:
        reserved = " or ".join(repr(each) for each in sorted(RESERVED))
        raise PolicyError(f"{name!r} cannot be a router's name\n  allowed: {_RULE}; not {reserved}")
    return name


def party_id(domain: str, name: str) -> bytes:
    """The KEY_ID octets of a router or of the DKS: "domain/name"."""
    return f"{domain}/{name}".encode()


@lru_cache(maxsize=_REMEMBERED)
def parse_party_id(data: bytes) -> tuple[str, str]:
    """Domain and name from a party's KEY_ID; PolicyError for anything else."""
    parts = _split(data, 2)
    if not (_DOMAIN.match(parts[0]) and _ROUTER.match(parts[1])):
        raise PolicyError("not a party's identity")
    return parts[0], parts[1]


@dataclass(frozen=True, slots=True, order=True)
class GroupId:
    """A speaker's group, or with interface "-" and protocol "policy" the control group of a router."""

    domain: str
    router: str
    interface: str
    protocol: str

    def __post_init__(self) -> None:
        if not (_DOMAIN.match(self.domain) and _ROUTER.match(self.router)):
            raise PolicyError(f"not a group's domain and router: {self.domain!r}, {self.router!r}")
        if self.is_control:
            return
        if not _INTERFACE.match(self.interface) or self.protocol not in _PROTOCOLS:
            raise PolicyError(f"not a group's interface and protocol: {self.interface!r}, {self.protocol!r}")

    @classmethod
    def of(cls, domain: str, router: str, interface: str, protocol: RoutingProtocol) -> GroupId:
        """The group of one speaker: a protocol on an interface of a router."""
        return cls(domain, router, interface, protocol.value)

    @classmethod
    def control(cls, domain: str, router: str) -> GroupId:
        """The group through which the DKS pushes new policy to a router."""
        return cls(domain, router, CONTROL_INTERFACE, CONTROL_PROTOCOL)

    @property
    def is_control(self) -> bool:
        return (self.interface, self.protocol) == (CONTROL_INTERFACE, CONTROL_PROTOCOL)

    @property
    def routing_protocol(self) -> RoutingProtocol:
        """The protocol whose packets the group protects. PolicyError for a control group."""
        if self.is_control:
            raise PolicyError("a control group protects no routing protocol")
        return RoutingProtocol(self.protocol)

    def encode(self) -> bytes:
        """The KEY_ID octets of IDg (RFC 9838 §2.3)."""
        return str(self).encode()

    @classmethod
    def decode(cls, data: bytes) -> GroupId:
        """From the KEY_ID octets of IDg; PolicyError for anything else."""
        return _group_id(data)

    def __str__(self) -> str:
        return f"{self.domain}/{self.router}/{self.interface}/{self.protocol}"


@lru_cache(maxsize=_REMEMBERED)
def _group_id(data: bytes) -> GroupId:
    return GroupId(*_split(data, 4))


@dataclass(frozen=True, slots=True, order=True)
class SpeakerId:
    """All groups of a speaker on one interface, of any protocol: a neighbour requests them at once."""

    domain: str
    router: str
    interface: str

    def __post_init__(self) -> None:
        if not (_DOMAIN.match(self.domain) and _ROUTER.match(self.router) and _INTERFACE.match(self.interface)):
            raise PolicyError(f"not a speaker: {self.domain!r}, {self.router!r}, {self.interface!r}")

    def encode(self) -> bytes:
        """The KEY_ID octets of IDg."""
        return f"{self.domain}/{self.router}/{self.interface}".encode()


def decode_idg(data: bytes) -> GroupId | SpeakerId:
    """From the KEY_ID octets of IDg: four parts for a group, three for a speaker. PolicyError for anything else."""
    return SpeakerId(*_split(data, 3)) if data.count(b"/") == 2 else GroupId.decode(data)


def _split(data: bytes, count: int) -> list[str]:
    if len(data) > MAX_GROUP_OCTETS:
        raise PolicyError("identity is too long")
    try:
        parts = data.decode("ascii").split("/")
    except UnicodeDecodeError as error:
        raise PolicyError("identity is not ASCII text") from error
    if len(parts) != count:
        raise PolicyError(f"identity has {len(parts)} parts, not {count}")
    return parts
