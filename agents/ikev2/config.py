"""The settings of a party: what it offers, accepts and tolerates. Anything not named here is rejected.

Knows values only: nothing of messages or state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from agents.ikev2 import key_exchange
from agents.ikev2.codec.transforms import Transform, transform
from agents.ikev2.errors import UnsupportedAlgorithm
from agents.ikev2.model import PeerAddress
from agents.ikev2.registry import Encr, ExchangeType, HashAlgorithm, Integ, KeMethod, Kwa, Prf, TransformType
from agents.ikev2.round_trip import HANDSHAKE_S, Retransmission

_T = TransformType

AES_GCM_256 = transform(_T.ENCR, Encr.AES_GCM_16, 256)
AES_GCM_128 = transform(_T.ENCR, Encr.AES_GCM_16, 128)
CHACHA20_POLY1305 = transform(_T.ENCR, Encr.CHACHA20_POLY1305)
AES_CBC_256 = transform(_T.ENCR, Encr.AES_CBC, 256)
AES_CBC_128 = transform(_T.ENCR, Encr.AES_CBC, 128)
HMAC_SHA2_256_128 = transform(_T.INTEG, Integ.HMAC_SHA2_256_128)
HMAC_SHA2_384_192 = transform(_T.INTEG, Integ.HMAC_SHA2_384_192)
HMAC_SHA2_512_256 = transform(_T.INTEG, Integ.HMAC_SHA2_512_256)
PRF_SHA2_256 = transform(_T.PRF, Prf.HMAC_SHA2_256)
PRF_SHA2_384 = transform(_T.PRF, Prf.HMAC_SHA2_384)
PRF_SHA2_512 = transform(_T.PRF, Prf.HMAC_SHA2_512)
CURVE25519 = transform(_T.KE, KeMethod.CURVE25519)
SECP256R1 = transform(_T.KE, KeMethod.SECP256R1)
SECP384R1 = transform(_T.KE, KeMethod.SECP384R1)
ADD_ML_KEM_768 = transform(_T.ADDKE1, KeMethod.ML_KEM_768)
KW_5649_256 = transform(_T.KWA, Kwa.KW_5649_256)
KW_5649_128 = transform(_T.KWA, Kwa.KW_5649_128)

Offer = tuple[Transform, ...]

# Two proposals: a peer without G-IKEv2 refuses one that holds a KWA and chooses the second.
PLAIN: Offer = (AES_GCM_256, AES_GCM_128, PRF_SHA2_256, CURVE25519, SECP256R1)
WITH_KWA: Offer = (*PLAIN, KW_5649_256)
# ML-KEM is only combined with X25519 (RFC 9370), in proposals of its own: a peer without additional key exchanges
# refuses a whole proposal that holds one.
_HYBRID = tuple((*(item for item in offer if item != SECP256R1), ADD_ML_KEM_768) for offer in (WITH_KWA, PLAIN))
NO_ML_KEM = "`cryptography` on this machine has no ML-KEM-768: it takes one built with OpenSSL 3.5 or newer"


class PostQuantum(Enum):
    """Whether an IKE SA has a post-quantum key exchange (ML-KEM-768) in addition to X25519."""

    REQUIRED = "required"
    PREFERRED = "preferred"
    OFF = "off"


def offers(asked: PostQuantum) -> tuple[Offer, ...]:
    """The offered and accepted proposals, the best first. Without ML-KEM on this machine, `preferred` is the same as
    `off`, and `required` raises UnsupportedAlgorithm."""
    classical = (WITH_KWA, PLAIN)
    if asked is PostQuantum.REQUIRED:
        if not key_exchange.has_ml_kem():
            raise UnsupportedAlgorithm(f"a post-quantum key exchange is required, and {NO_ML_KEM}")
        return _HYBRID
    return (*_HYBRID, *classical) if asked is PostQuantum.PREFERRED and key_exchange.has_ml_kem() else classical


def shortfall(asked: PostQuantum) -> str | None:
    """The reason why IKE SAs lack the preferred key exchange; None when they do not."""
    if asked is not PostQuantum.PREFERRED or key_exchange.has_ml_kem():
        return None
    return f"a post-quantum key exchange is preferred, but {NO_ML_KEM}: IKE SAs are made without"


def has_additional(transforms: Iterable[Transform]) -> bool:
    """True if one of these has an additional key exchange (RFC 9370)."""
    return any(_T.ADDKE1 <= item.type <= _T.ADDKE7 and item.id for item in transforms)


@dataclass(frozen=True, slots=True)
class IkeConfig:
    """Settings of one endpoint. Times in seconds; 0 turns a periodic action off."""

    offers: tuple[Offer, ...] = (WITH_KWA, PLAIN)
    accept_auth: frozenset[int] | None = None  # exchange types for AUTH; None: only the endpoint's own
    upper_exchanges: frozenset[int] = frozenset(
        {ExchangeType.GSA_REGISTRATION, ExchangeType.GSA_INBAND_REKEY}
    )  # requests of these types become RequestReceived; INFORMATIONAL: those with private-use notifies
    childless: bool = True  # RFC 6023: announce and accept an IKE_AUTH without a Child SA
    signature_hashes: tuple[int, ...] = (HashAlgorithm.IDENTITY, HashAlgorithm.SHA2_256, HashAlgorithm.SHA2_384)
    nonce_octets: int = 32
    retransmission: Retransmission = field(default_factory=Retransmission)
    half_open_timeout_s: float = HANDSHAKE_S
    max_half_open: int = 1000
    max_half_open_per_address: int = 16
    half_open_prefixes: int = 16  # one IPv6 /64 has at most this fraction of max_half_open, whatever its addresses
    max_sas_per_peer: int = 16  # one more deletes the oldest
    max_children: int = 16  # Child SAs of one IKE SA; during a rekey there are two for a moment
    creations: int = 32  # CREATE_CHILD_SA requests of a peer that are served at once
    creation_every_s: float = 2.0  # and one more after each such number of seconds
    cookie_threshold: int = 30
    cookie_threshold_per_address: int = 3
    cookie_rotation_s: float = 120.0
    cookie_grace_s: float = HANDSHAKE_S
    max_cookie_rounds: int = 5
    window: int = 1
    liveness_s: float = 0.0
    ike_lifetime_s: float = 0.0
    child_lifetime_s: float = 0.0
    rekey_jitter: float = 0.1  # a lifetime is shortened by a random fraction up to this one
    retry_s: float = 5.0  # after TEMPORARY_FAILURE a rekey is tried again after this time, or a round trip later
    linger_s: float = (
        30.0  # how long a closed SA still retransmits its last answers; also how long the peer may retransmit
    )
    fragmentation: bool = True
    max_datagram: int = 1232  # octets of UDP payload above which a message is fragmented
    max_fragments: int = 64
    max_fragment_octets: int = 8 << 20  # octets of fragments kept for all unauthenticated peers together
    hop_limit: int | None = None  # drop datagrams with another hop limit
    admit: Callable[[PeerAddress], bool] | None = None  # drop datagrams from other addresses
    spi_share: tuple[int, int] = (
        0,
        1,
    )  # this endpoint's number, and the number of endpoints on one port, which SPIs distinguish
    log_keys: bool = False  # experiments only: emit KeysDerived with the secrets
