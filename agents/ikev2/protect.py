"""The Encrypted payload (RFC 7296 §3.14, RFC 5282) and its fragments (RFC 7383 §2.5), with explicit keys.

Serves every exchange, including the multicast GSA_REKEY of RFC 9838, whose signature covers `signed_octets`. Knows
nothing of SAs, windows or senders.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from agents.ikev2.codec.header import (
    GENERIC_HEADER_LENGTH,
    HEADER_LENGTH,
    MAX_MESSAGE,
    Header,
    encode_header,
    parse_generic,
)
from agents.ikev2.errors import IntegrityFailure, MalformedMessage, MessageTooLong, UnsupportedAlgorithm
from agents.ikev2.model import RandomSource
from agents.ikev2.registry import Encr, Integ, PayloadType

_AEAD_IV = 8
_AEAD_ICV = 16
_BLOCK = 16
_SK = struct.Struct("!BBH")
_FRAGMENT = struct.Struct("!HH")
_MAX_PRECEDING = 16

# Integrity algorithm: hash, key octets, ICV octets.
INTEGRITY = {
    Integ.HMAC_SHA2_256_128: ("sha256", 32, 16),
    Integ.HMAC_SHA2_384_192: ("sha384", 48, 24),
    Integ.HMAC_SHA2_512_256: ("sha512", 64, 32),
}
AEADS = frozenset({Encr.AES_GCM_16, Encr.CHACHA20_POLY1305})


def encryption_key_length(encr: int, key_bits: int | None) -> int:
    """Octets of SK_e, salt included; UnsupportedAlgorithm for a cipher that we lack."""
    if encr == Encr.AES_GCM_16 and key_bits in (128, 192, 256):
        return key_bits // 8 + 4
    if encr == Encr.CHACHA20_POLY1305 and key_bits is None:
        return 36
    if encr == Encr.AES_CBC and key_bits in (128, 192, 256):
        return key_bits // 8
    raise UnsupportedAlgorithm(f"encryption {encr} with {key_bits} bits")


def integrity_key_length(encr: int, integ: int) -> int:
    """Octets of SK_a: 0 with an AEAD."""
    if encr in AEADS:
        if integ != Integ.NONE:
            raise UnsupportedAlgorithm("an AEAD takes no integrity algorithm")
        return 0
    if integ not in INTEGRITY:
        raise UnsupportedAlgorithm(f"integrity {integ}")
    return INTEGRITY[Integ(integ)][1]


class Protection:
    """One direction of one SA: seals and opens the body of SK. Made by `make_protection`."""

    __slots__ = ()

    def body_length(self, inner: int) -> int:
        """Octets of IV, ciphertext and ICV for `inner` octets of payloads."""
        raise NotImplementedError

    def seal(self, associated: bytes, inner: bytes) -> bytes:
        """IV | ciphertext | ICV."""
        raise NotImplementedError

    def open(self, associated: bytes, body: bytes) -> bytes:
        """The inner payloads; IntegrityFailure when the ICV is wrong, MalformedMessage for bad padding."""
        raise NotImplementedError


class _Aead(Protection):
    """AES-GCM or ChaCha20-Poly1305. The IV counts up from a random start, so it never repeats under one key."""

    __slots__ = ("_cipher", "_iv", "_salt")

    def __init__(self, cipher: AESGCM | ChaCha20Poly1305, salt: bytes, random: RandomSource) -> None:
        self._cipher = cipher
        self._salt = salt
        self._iv: int | RandomSource = random

    def _next_iv(self) -> bytes:
        value = self._iv if isinstance(self._iv, int) else int.from_bytes(self._iv(_AEAD_IV), "big")
        self._iv = (value + 1) & 0xFFFFFFFFFFFFFFFF
        return value.to_bytes(_AEAD_IV, "big")

    def body_length(self, inner: int) -> int:
        return _AEAD_IV + inner + 1 + _AEAD_ICV

    def seal(self, associated: bytes, inner: bytes) -> bytes:
        iv = self._next_iv()
        return iv + self._cipher.encrypt(self._salt + iv, inner + b"\0", associated)

    def open(self, associated: bytes, body: bytes) -> bytes:
        if len(body) < _AEAD_IV + 1 + _AEAD_ICV:
            raise IntegrityFailure("encrypted payload is too short")
        try:
            plain = self._cipher.decrypt(self._salt + body[:_AEAD_IV], body[_AEAD_IV:], associated)
        except InvalidTag as error:
            raise IntegrityFailure("ICV is wrong") from error
        return _strip_padding(plain)


class _CbcHmac(Protection):
    """AES-CBC with an HMAC over the message up to the ICV."""

    __slots__ = ("_algorithm", "_hash", "_icv", "_key_a", "_random")

    def __init__(self, key_e: bytes, key_a: bytes, integ: int, random: RandomSource) -> None:
        self._algorithm = algorithms.AES(key_e)
        self._hash, _, self._icv = INTEGRITY[Integ(integ)]
        self._key_a = key_a
        self._random = random

    def body_length(self, inner: int) -> int:
        return _BLOCK + (inner // _BLOCK + 1) * _BLOCK + self._icv

    def seal(self, associated: bytes, inner: bytes) -> bytes:
        iv = self._random(_BLOCK)
        pad = _BLOCK - 1 - len(inner) % _BLOCK
        encryptor = Cipher(self._algorithm, modes.CBC(iv)).encryptor()
        text = iv + encryptor.update(inner + bytes(pad) + bytes((pad,))) + encryptor.finalize()
        return text + hmac.digest(self._key_a, associated + text, self._hash)[: self._icv]

    def open(self, associated: bytes, body: bytes) -> bytes:
        text, icv = body[: -self._icv], body[-self._icv :]
        if len(text) < 2 * _BLOCK:
            raise IntegrityFailure("encrypted payload is too short")
        if not hmac.compare_digest(hmac.digest(self._key_a, associated + text, self._hash)[: self._icv], icv):
            raise IntegrityFailure("ICV is wrong")
        if len(text) % _BLOCK:
            raise MalformedMessage("ciphertext is not a whole number of blocks")
        decryptor = Cipher(self._algorithm, modes.CBC(text[:_BLOCK])).decryptor()
        return _strip_padding(decryptor.update(text[_BLOCK:]) + decryptor.finalize())


def _strip_padding(plain: bytes) -> bytes:
    pad = plain[-1]
    if pad >= len(plain):
        raise MalformedMessage("padding is longer than the payload")
    return plain[: len(plain) - 1 - pad]


def make_protection(
    encr: int, key_bits: int | None, integ: int, key_e: bytes, key_a: bytes, random: RandomSource
) -> Protection:
    """The protection of one direction. `key_e` holds the cipher's key and its salt.

    Raises UnsupportedAlgorithm for an algorithm that we lack, or keys of a wrong length.
    """
    if len(key_e) != encryption_key_length(encr, key_bits) or len(key_a) != integrity_key_length(encr, integ):
        raise UnsupportedAlgorithm("key length does not fit the algorithm")
    if encr == Encr.AES_GCM_16:
        return _Aead(AESGCM(key_e[:-4]), key_e[-4:], random)
    if encr == Encr.CHACHA20_POLY1305:
        return _Aead(ChaCha20Poly1305(key_e[:-4]), key_e[-4:], random)
    return _CbcHmac(key_e, key_a, integ, random)


@dataclass(frozen=True, slots=True)
class Opened:
    """The content of an encrypted message: inner payloads and, for SKF, the fragment's place."""

    first: int
    inner: bytes = field(repr=False)
    fragment: int = 0
    total: int = 0


def seal_message(header: Header, first: int, inner: bytes, protection: Protection) -> bytes:
    """A whole message with one SK payload; `first` is the type of the first inner payload. MessageTooLong."""
    body = protection.body_length(len(inner))
    if GENERIC_HEADER_LENGTH + body > MAX_MESSAGE - HEADER_LENGTH:
        raise MessageTooLong(f"message of {body} octets")
    length = GENERIC_HEADER_LENGTH + body
    start = encode_header(header, HEADER_LENGTH + length, PayloadType.SK) + _SK.pack(first, 0, length)
    return start + protection.seal(start, inner)


def seal_fragments(
    header: Header, first: int, inner: bytes, protection: Protection, max_datagram: int, max_fragments: int = 64
) -> list[bytes]:
    """The message as SKF fragments of at most `max_datagram` octets each, or as one SK message if it fits.
    MessageTooLong also when the receiver would not reassemble it."""
    overhead = HEADER_LENGTH + GENERIC_HEADER_LENGTH
    if overhead + protection.body_length(len(inner)) <= max_datagram:
        return [seal_message(header, first, inner, protection)]
    size = max_datagram - overhead - _FRAGMENT.size - protection.body_length(0)
    while size > 0 and overhead + _FRAGMENT.size + protection.body_length(size) > max_datagram:
        size -= 1
    total = -(-len(inner) // size) if size > 0 else max_fragments + 1
    if total > max_fragments or len(inner) > MAX_MESSAGE:
        raise MessageTooLong(f"message of {len(inner)} octets does not fit {max_fragments} fragments")
    out = []
    for number in range(1, total + 1):
        part = inner[(number - 1) * size : number * size]
        length = GENERIC_HEADER_LENGTH + _FRAGMENT.size + protection.body_length(len(part))
        start = encode_header(header, HEADER_LENGTH + length, PayloadType.SKF)
        start += struct.pack("!BBHHH", first if number == 1 else 0, 0, length, number, total)
        out.append(start + protection.seal(start, part))
    return out


def find_encrypted(data: bytes, header: Header) -> tuple[int, int, int] | None:
    """Type (SK or SKF), next-payload field and offset of the encrypted payload's generic header, if there is one.

    Raises MalformedMessage when the chain is broken or the encrypted payload is not the last.
    """
    kind, offset = header.next_payload, HEADER_LENGTH
    for _ in range(_MAX_PRECEDING):
        if kind == 0:
            return None
        following, _, end = parse_generic(data, offset)
        if kind in (PayloadType.SK, PayloadType.SKF):
            if end != len(data):
                raise MalformedMessage("octets behind the encrypted payload")
            return kind, following, offset
        kind, offset = following, end
    raise MalformedMessage("too many payloads in clear")


def open_message(data: bytes, header: Header, protection: Protection) -> Opened:
    """Open SK or one SKF. IntegrityFailure: drop it, its sender is unknown; MalformedMessage: it is authentic and
    invalid."""
    try:
        encrypted = find_encrypted(data, header)
    except MalformedMessage as error:
        raise IntegrityFailure(str(error)) from error
    if encrypted is None:
        raise IntegrityFailure("no encrypted payload")
    kind, first, offset = encrypted
    start = offset + GENERIC_HEADER_LENGTH
    if kind == PayloadType.SK:
        return Opened(first, protection.open(data[:start], data[start:]))
    if len(data) < start + _FRAGMENT.size:
        raise IntegrityFailure("fragment is cut short")
    number, total = _FRAGMENT.unpack_from(data, start)
    start += _FRAGMENT.size
    inner = protection.open(data[:start], data[start:])
    if not 0 < number <= total or (number > 1 and first):
        raise MalformedMessage(f"fragment {number} of {total}")
    return Opened(first, inner, number, total)


def signed_octets(header: Header, first: int, inner: bytes, reserved: int = 0) -> bytes:
    """A | P of RFC 9242 §3.3.2 and RFC 9838 §2.4.1: header and SK's generic header with lengths that exclude IV,
    padding and ICV, then the decrypted inner payloads. `reserved`: the second octet of SK's header as received."""
    length = HEADER_LENGTH + GENERIC_HEADER_LENGTH + len(inner)
    return (
        encode_header(header, length, PayloadType.SK)
        + _SK.pack(first, reserved, GENERIC_HEADER_LENGTH + len(inner))
        + inner
    )
