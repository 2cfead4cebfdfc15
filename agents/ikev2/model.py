"""Values that the whole package shares: addresses, datagrams, identities and keys of parties.

Knows nothing of messages or state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address

from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from agents.ikev2.codec.payloads import Identification
from agents.ikev2.errors import UnsupportedAlgorithm

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
RandomSource = Callable[[int], bytes]


def uniform(random: RandomSource, low: float, high: float) -> float:
    """A random number of this range."""
    return low + (high - low) * int.from_bytes(random(4), "big") / 0x1_0000_0000


@lru_cache(maxsize=256)
def source_prefix(address: str) -> str:
    """The block of addresses that surely belongs to one source: an IPv4 address, or an IPv6 /64. Neighbours share the
    link-local prefix."""
    if ":" not in address or (parsed := IPv6Address(address)).is_link_local:
        return address
    return str(int(parsed) >> 64)


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A peer's address and how it is reached; `ip` and `local_ip` as text, without a zone."""

    ip: str
    port: int
    local_ip: str = ""
    interface: str = ""
    local_port: int = 0


@dataclass(frozen=True, slots=True)
class Datagram:
    """One received UDP payload (without the non-ESP marker of port 4500)."""

    data: bytes
    peer: PeerAddress
    hop_limit: int | None = None


@dataclass(frozen=True, slots=True)
class PeerCredential:
    """The content of a CERT payload: encoding (CertEncoding) and octets."""

    encoding: int
    data: bytes


@dataclass(frozen=True, slots=True)
class PeerKey:
    """The public key that a peer must prove to have."""

    public_key: PublicKey

    @classmethod
    def from_spki(cls, der: bytes) -> PeerKey:
        """From a DER SubjectPublicKeyInfo; UnsupportedAlgorithm unless Ed25519, P-256 or P-384."""
        return _peer_key(der)

    @property
    def spki(self) -> bytes:
        return self.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@lru_cache(maxsize=1024)  # of one peer's IKE SAs all share it
def _peer_key(der: bytes) -> PeerKey:
    try:
        key = load_der_public_key(der)
    except (ValueError, _Unsupported) as error:
        raise UnsupportedAlgorithm(f"no usable public key: {error}") from error
    if isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
        return PeerKey(key)
    raise UnsupportedAlgorithm(f"public key of kind {type(key).__name__}")


@dataclass(frozen=True, slots=True)
class LocalIdentity:
    """Our own name and private key."""

    id: Identification
    private_key: PrivateKey = field(repr=False)


# The key that a peer of this name must have, or None to refuse it. The credential is the peer's own claim and proves
# nothing: with raw keys, compare or ignore it, but do not trust it.
Authenticate = Callable[[Identification, PeerCredential | None, PeerAddress], PeerKey | None]
