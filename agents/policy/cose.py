"""COSE_Sign1 (RFC 9052 §4.2, §4.4) with Ed25519, and a type label that separates kinds of objects.

The label is in the protected header `typ` (16, RFC 9596), so it is signed: a signature over one kind of object is
invalid for another. Knows nothing of the signed content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.policy import cbor
from agents.policy.errors import PolicyError
from agents.runtime.storage import later_format

T = TypeVar("T")
_TAG_SIGN1 = 18
_HEADER_ALG, _HEADER_TYP = 1, 16
_ALG_EDDSA = -8
_SIGNATURE_OCTETS = 64


@dataclass(frozen=True, slots=True)
class _Sign1:
    protected: bytes
    payload: bytes
    signature: bytes


class Verifier:
    """The port through which every signed object is made, verified, written and read. `using` replaces it: a simulation
    has one that caches results."""

    def sign(self, label: str, payload: bytes, key: Ed25519PrivateKey) -> bytes:
        """As the function."""
        return _sign(label, payload, key)

    def verify(self, label: str, data: bytes, key: Ed25519PublicKey) -> bytes:
        """As the function."""
        return _verify(label, data, key)

    def written(self, value: T, encode: Callable[[T], bytes]) -> bytes:
        """A value's octets."""
        return encode(value)

    def read(self, payload: bytes, decode: Callable[[bytes], T]) -> T:
        """The value of such octets. PolicyError."""
        return decode(payload)


_VERIFIER: ContextVar[Verifier] = ContextVar("verifier", default=Verifier())  # noqa: B039 - it holds nothing


@contextmanager
def using(verifier: Verifier) -> Iterator[None]:
    """Every operation within the block uses this port."""
    token = _VERIFIER.set(verifier)
    try:
        yield
    finally:
        _VERIFIER.reset(token)


def verifier() -> Verifier:
    """The port in use."""
    return _VERIFIER.get()


def sign(label: str, payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """A tagged COSE_Sign1 of these octets under this label."""
    return verifier().sign(label, payload, key)


def verify(label: str, data: bytes, key: Ed25519PublicKey) -> bytes:
    """The payload, if it is signed by this key under this label; PolicyError otherwise."""
    return verifier().verify(label, data, key)


def _sign(label: str, payload: bytes, key: Ed25519PrivateKey) -> bytes:
    protected = _protected(label)
    signature = key.sign(_signed(protected, payload))
    return _joined(protected, payload, signature)


def _joined(protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """Tag 18, then [protected, {}, payload, signature]."""
    parts = (cbor.octets(protected), b"\xa0", cbor.octets(payload), cbor.octets(signature))
    return bytes((0xC0 | _TAG_SIGN1, 0x84)) + b"".join(parts)


@lru_cache(maxsize=32)
def _protected(label: str) -> bytes:
    return cbor.encode({_HEADER_ALG: _ALG_EDDSA, _HEADER_TYP: label})


def _verify(label: str, data: bytes, key: Ed25519PublicKey) -> bytes:
    parts = _parse(data)
    if parts.protected != _protected(label):
        raise PolicyError(_other_label(label, parts.protected))
    try:
        key.verify(parts.signature, _signed(parts.protected, parts.payload))
    except InvalidSignature as error:
        raise PolicyError(f"the signature of the {label} is invalid") from error
    return parts.payload


def _other_label(label: str, protected: bytes) -> str:
    """The message for an object under another label: an object of a later format is not a forgery."""
    stem, _, ours = label.rpartition("/")
    headers = cbor.decode(protected)
    said = headers.get(_HEADER_TYP) if isinstance(headers, dict) else None
    number = said.removeprefix(f"{stem}/") if isinstance(said, str) else ""
    if number.isascii() and number.isdigit() and len(number) < 4 and int(number) > int(ours):
        return later_format(f"not a signed {label}, but a {stem}", int(number), int(ours))
    return f"not a signed {label}"


def signs(label: str, data: bytes) -> bool:
    """True if the octets claim to be an object of this label. The signature is not checked."""
    try:
        headers = cbor.decode(_parse(data).protected)
    except PolicyError:
        return False
    return isinstance(headers, dict) and headers.get(_HEADER_TYP) == label


def unverified_payload(data: bytes) -> bytes:
    """The payload, unverified: to show it to a person, never to act on it."""
    return _parse(data).payload


def _signed(protected: bytes, payload: bytes) -> bytes:
    """Sig_structure of RFC 9052 §4.4 with an empty external_aad."""
    return b"".join((b"\x84\x6aSignature1", cbor.octets(protected), b"\x40", cbor.octets(payload)))


def _parse(data: bytes) -> _Sign1:
    value = cbor.read(data)
    if not (isinstance(value, tuple) and value[0] == _TAG_SIGN1 and isinstance(value[1], list) and len(value[1]) == 4):
        raise PolicyError("not a COSE_Sign1 object")
    protected, unprotected, payload, signature = value[1]
    if not (isinstance(protected, bytes) and isinstance(payload, bytes) and isinstance(signature, bytes)):
        raise PolicyError("a part of COSE_Sign1 has the wrong type")
    if unprotected != {} or len(signature) != _SIGNATURE_OCTETS:
        raise PolicyError("COSE_Sign1 has an unprotected header or no Ed25519 signature")
    if _joined(protected, payload, signature) != data:
        raise PolicyError("CBOR is not in its deterministic form")
    return _Sign1(protected, payload, signature)
