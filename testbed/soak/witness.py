"""Reads what is signed and what is kept, for the judge: none of the agents' code, so that a defect there is seen here.

COSE_Sign1 (RFC 9052 §4.4) by `cryptography` and `cbor2`, the sealed counters by hashlib. Knows nothing of what must
hold.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_DOCUMENT, _LIST = "router-keys/policy-document/1", "router-keys/revocation/1"
_COUNTERS = b"router-keys/lks-counters/3"
_CARRIED = b"router-keys/lks-carried/1"
_FIRST_FAMILY = ("ospf", "pim")

Address = IPv4Address | IPv6Address


class Untrue(Exception):
    """Not signed, not whole, or not what it is there for."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A neighbour that may be heard: on which of our interfaces, where it speaks from, and of which of its interfaces
    the group is."""

    interface: str
    protocol: str
    speaker: Address
    group: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What one router's policy says, without whom a list revokes."""

    router: str
    version: int
    local_key_server: bool
    modes: Mapping[tuple[str, str], str]
    """By interface and protocol."""
    heard: frozenset[Heard]


@dataclass(frozen=True, slots=True)
class Kept:
    """The retained counters of a router. `floors`: group → highest v and highest g of the last words of each key."""

    reserved: int
    version: int
    revocation: int
    floors: Mapping[str, tuple[int, int]]


def follows(later: tuple[int, int], earlier: tuple[int, int], own: int) -> bool:
    """Whether a router whose policy has version `own` may take this (v, g) of a group after that one. No generation is
    ever lower, and no version that the router's own policy has come to. A speaker that acted on a version which the
    router has not seen (documents change one by one) may go back to an earlier one, as one does whose folder was put
    back, but only with a generation that is new."""
    followed = earlier[0] > own and later[1] > earlier[1]
    return later[1] >= earlier[1] and (later[0] >= earlier[0] or followed)


@lru_cache(maxsize=4096)
def opened(label: str, signed: bytes, key: bytes) -> dict[str, Any]:
    """What this key (32 octets, Ed25519) signed under this label. Untrue."""
    try:
        sign1 = cbor2.loads(signed)
    except (cbor2.CBORDecodeError, EOFError) as error:
        raise Untrue(f"no CBOR: {error}") from error
    if not isinstance(sign1, cbor2.CBORTag) or sign1.tag != 18 or len(sign1.value) != 4:
        raise Untrue("no COSE_Sign1")
    protected, unprotected, payload, signature = sign1.value
    if cbor2.loads(protected) != {1: -8, 16: label} or unprotected:
        raise Untrue(f"no {label}")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, cbor2.dumps(["Signature1", protected, b"", payload]))
    except InvalidSignature as error:
        raise Untrue(f"{label}: the signature is wrong") from error
    value = cbor2.loads(payload)
    if not isinstance(value, dict):
        raise Untrue(f"{label}: no map")
    return value


def revoked(signed: bytes | None, root: bytes, domain: str) -> tuple[int, frozenset[bytes]]:
    """Version and router keys (SHA-256) of a revocation list; (0, none) without one. Untrue."""
    if signed is None:
        return 0, frozenset()
    fields = opened(_LIST, signed, root)
    if fields["domain"] != domain:
        raise Untrue(f"a revocation list of {fields['domain']}")
    return fields["version"], frozenset(each["key"] for each in fields["routers"])


def policy_of(signed: bytes, revocation: bytes | None, root: bytes, domain: str, router: str) -> Policy:
    """The policy that a router has to act on with these two files. Untrue."""
    document = opened(_DOCUMENT, signed, root)
    if (document["domain"], document["router"]) != (domain, router):
        raise Untrue(f"a document of {document['domain']}/{document['router']} at {router}")
    _version, gone = revoked(revocation, root, domain)
    alone = _digest(document["identity"]) in gone
    heard = set()
    for interface in document["interfaces"]:
        for neighbor in interface["neighbors"]:
            if alone or _digest(neighbor["key"]) in gone:
                continue
            for protocol in interface["protocols"]:
                address = neighbor["address"] if protocol in _FIRST_FAMILY else neighbor["address6"]
                group = f"{domain}/{neighbor['router']}/{neighbor['interface']}/{protocol}"
                heard.add(Heard(interface["name"], protocol, ip_address(address), group))
    modes: dict[tuple[str, str], str] = {}
    for each in document["interfaces"]:
        others = {other["protocol"]: other["mode"] for other in each.get("modes", ())}
        modes |= {(each["name"], protocol): others.get(protocol, each["mode"]) for protocol in each["protocols"]}
    return Policy(router, document["version"], document["local_key_server"], modes, frozenset(heard))


@lru_cache(maxsize=256)
def carried(record: bytes, root: bytes) -> tuple[tuple[str, int, bytes, bool], ...]:
    """The documents in a sealed record of those that a router carries: router, version, octets, whether it was handed
    over. Untrue."""
    payload = record[36:]
    if record[:36] != b"RKS1" + hashlib.sha256(_CARRIED + b"\0" + payload).digest():
        raise Untrue("the carried documents are damaged")
    documents = []
    for packed, handed in cbor2.loads(payload):
        signed = zlib.decompress(packed) if packed[:1] == b"\x78" else packed
        document = opened(_DOCUMENT, signed, root)
        documents.append((document["router"], document["version"], signed, handed))
    return tuple(documents)


def kept(record: bytes) -> Kept:
    """The counters in a sealed record: "RKS1", SHA-256 over kind, a zero and payload, payload. Untrue."""
    payload = record[36:]
    if record[:36] != b"RKS1" + hashlib.sha256(_COUNTERS + b"\0" + payload).digest():
        raise Untrue("the counters are damaged")
    value = cbor2.loads(payload)
    floors = {
        name: (max(v for _key, v, _g, _signed in marks), max(g for _key, _v, g, _signed in marks))
        for name, marks in value["floors"].items()
    }
    return Kept(value["reserved"], max(value["versions"].values(), default=0), value["revocation"], floors)


def _digest(spki: bytes) -> bytes:
    return hashlib.sha256(spki).digest()
