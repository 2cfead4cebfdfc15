"""The AUTH payload: digital signatures of RFC 7427 with Ed25519 (RFC 8420) and ECDSA.

Knows nothing of messages beyond the octets that are signed.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from agents.ikev2.codec.payloads import AuthPayload, NotifyPayload
from agents.ikev2.errors import MalformedMessage, UnsupportedAlgorithm
from agents.ikev2.model import PrivateKey, PublicKey
from agents.ikev2.registry import AuthMethod, HashAlgorithm
from agents.ikev2.suites import PrfFunction

ED25519_IDENTIFIER = bytes.fromhex("300506032b6570")
_ECDSA: dict[bytes, tuple[HashAlgorithm, type[hashes.HashAlgorithm]]] = {
    bytes.fromhex("300a06082a8648ce3d040302"): (HashAlgorithm.SHA2_256, hashes.SHA256),
    bytes.fromhex("300a06082a8648ce3d040303"): (HashAlgorithm.SHA2_384, hashes.SHA384),
    bytes.fromhex("300a06082a8648ce3d040304"): (HashAlgorithm.SHA2_512, hashes.SHA512),
}
_ECDSA_FOR_CURVE = {"secp256r1": HashAlgorithm.SHA2_256, "secp384r1": HashAlgorithm.SHA2_384}


def signed_octets(
    message: bytes, nonce: bytes, prf: PrfFunction, sk_p: bytes, id_body: bytes, int_auth: bytes = b""
) -> bytes:
    """The octets that a party signs (RFC 7296 §2.15): its own IKE_SA_INIT message, the peer's nonce, prf(SK_p, ID'),
    and IntAuth of RFC 9242 after intermediate exchanges."""
    return message + nonce + prf(sk_p, id_body) + int_auth


def sign(key: PrivateKey, octets: bytes, peer_hashes: Collection[int]) -> AuthPayload:
    """An AUTH payload of method 14. UnsupportedAlgorithm when the peer did not announce the hash that our key needs."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        _require(HashAlgorithm.IDENTITY, peer_hashes)
        return _payload(ED25519_IDENTIFIER, key.sign(octets))
    wanted = _ECDSA_FOR_CURVE.get(key.curve.name)
    for identifier, (number, function) in _ECDSA.items():
        if number == wanted:
            _require(number, peer_hashes)
            return _payload(identifier, key.sign(octets, ec.ECDSA(function())))
    raise UnsupportedAlgorithm(f"ECDSA on {key.curve.name}")


def _require(number: HashAlgorithm, peer_hashes: Collection[int]) -> None:
    if number not in peer_hashes:
        raise UnsupportedAlgorithm(f"peer does not accept hash {number.name}")


def _payload(identifier: bytes, signature: bytes) -> AuthPayload:
    return AuthPayload(AuthMethod.DIGITAL_SIGNATURE, bytes((len(identifier),)) + identifier + signature)


def verify(key: PublicKey, octets: bytes, payload: AuthPayload, our_hashes: Collection[int]) -> bool:
    """True if `payload` is this key's signature over `octets`, by an algorithm that we announced."""
    if payload.method != AuthMethod.DIGITAL_SIGNATURE or not payload.data:
        return False
    end = 1 + payload.data[0]
    identifier, signature = payload.data[1:end], payload.data[end:]
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            if identifier != ED25519_IDENTIFIER or HashAlgorithm.IDENTITY not in our_hashes:
                return False
            key.verify(signature, octets)
            return True
        number, function = _ECDSA.get(identifier, (None, None))
        if number is None or function is None or number not in our_hashes or key.curve.name not in _ECDSA_FOR_CURVE:
            return False
        key.verify(signature, octets, ec.ECDSA(function()))
        return True
    except InvalidSignature:
        return False


def encode_hashes(numbers: Collection[int]) -> bytes:
    """The data of SIGNATURE_HASH_ALGORITHMS."""
    return struct.pack(f"!{len(numbers)}H", *numbers)


def parse_hashes(notify: NotifyPayload) -> frozenset[int]:
    """The hashes that the peer announced; MalformedMessage for an odd number of octets."""
    if len(notify.data) % 2:
        raise MalformedMessage("SIGNATURE_HASH_ALGORITHMS of odd length")
    return frozenset(struct.unpack(f"!{len(notify.data) // 2}H", notify.data))
