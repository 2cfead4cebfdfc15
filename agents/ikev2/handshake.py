"""Parts of the handshake that both sides share: notifies of IKE_SA_INIT, nonces, credentials, IntAuth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from agents.ikev2.auth import encode_hashes, parse_hashes
from agents.ikev2.codec.header import Header
from agents.ikev2.codec.payloads import (
    AuthPayload,
    CertPayload,
    CertRequestPayload,
    IdPayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    find,
    notifies,
)
from agents.ikev2.errors import MalformedMessage
from agents.ikev2.model import PeerCredential
from agents.ikev2.protect import Opened, signed_octets
from agents.ikev2.registry import NotifyType, PayloadType
from agents.ikev2.suites import PrfFunction

if TYPE_CHECKING:
    from agents.ikev2.config import IkeConfig

_HANDSHAKE_NOTIFIES = frozenset({NotifyType.INITIAL_CONTACT, NotifyType.SET_WINDOW_SIZE})
_PROOF = (AuthPayload, CertPayload, CertRequestPayload)
_PARTIES = frozenset({PayloadType.IDi, PayloadType.IDr})


def announcements(config: IkeConfig) -> list[Payload]:
    """The notifies that either side puts into IKE_SA_INIT."""
    notifications: list[Payload] = [
        NotifyPayload(NotifyType.SIGNATURE_HASH_ALGORITHMS, encode_hashes(config.signature_hashes))
    ]
    if config.fragmentation:
        notifications.append(NotifyPayload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED))
    return notifications


def hashes_of(payloads: Iterable[Payload]) -> frozenset[int]:
    """The hashes that the peer accepts in signatures."""
    values = notifies(payloads, NotifyType.SIGNATURE_HASH_ALGORITHMS)
    return parse_hashes(values[0]) if values else frozenset()


def required_nonce(payloads: Iterable[Payload], prf: PrfFunction | None = None) -> bytes:
    """The message's nonce: at least half as long as the PRF's key (RFC 7296 §2.10)."""
    payload = find(payloads, NoncePayload)
    if payload is None or (prf is not None and len(payload.nonce) * 2 < prf.length):
        raise MalformedMessage("nonce is missing or too short")
    return payload.nonce


def credential_of(payloads: Iterable[Payload]) -> PeerCredential | None:
    """The first CERT payload (RFC 7296 §3.6)."""
    payload = find(payloads, CertPayload)
    return None if payload is None else PeerCredential(payload.encoding, payload.data)


def for_layer_above(payloads: Iterable[Payload]) -> tuple[Payload, ...]:
    """The content of an AUTH message besides the proof of identity."""
    return tuple(
        item
        for item in payloads
        if not isinstance(item, _PROOF)
        and not (isinstance(item, IdPayload) and item.payload_type in _PARTIES)
        and not (isinstance(item, NotifyPayload) and item.type in _HANDSHAKE_NOTIFIES)
    )


class IntAuth:
    """The running authentication of IKE_INTERMEDIATE messages (RFC 9242 §3.3.2)."""

    __slots__ = ("_chain",)

    def __init__(self) -> None:
        self._chain: dict[bool, bytes] = {}

    def add(self, prf: PrfFunction, sk_p: bytes, from_initiator: bool, header: Header, opened: Opened) -> None:
        octets = self._chain.get(from_initiator, b"") + signed_octets(header, opened.first, opened.inner)
        self._chain[from_initiator] = prf(sk_p, octets)

    def octets(self, auth_message_id: int) -> bytes:
        """IntAuth, which is added to the signed octets; empty without intermediate exchanges."""
        if not self._chain:
            return b""
        return self._chain.get(True, b"") + self._chain.get(False, b"") + auth_message_id.to_bytes(4, "big")
