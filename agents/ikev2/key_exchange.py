"""Key exchange methods (transform types 4 and 6 to 12): public values and shared secrets.

Knows nothing of messages or of the purpose of the secret.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography import exceptions
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from agents.ikev2.errors import MalformedMessage, UnsupportedAlgorithm
from agents.ikev2.model import RandomSource
from agents.ikev2.registry import KeMethod

try:
    from cryptography.hazmat.primitives.asymmetric import mlkem
except ImportError:  # an older release
    mlkem = None  # type: ignore[assignment]

_CURVES: dict[int, tuple[ec.EllipticCurve, int]] = {
    KeMethod.SECP256R1: (ec.SECP256R1(), 32),
    KeMethod.SECP384R1: (ec.SECP384R1(), 48),
}
_ORDERS = {
    KeMethod.SECP256R1: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    KeMethod.SECP384R1: int(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16
    ),
}
_ML_KEM_768_CIPHERTEXT = 1088


_NAMES = {
    KeMethod.SECP256R1: "secp256r1",
    KeMethod.SECP384R1: "secp384r1",
    KeMethod.CURVE25519: "x25519",
    KeMethod.ML_KEM_768: "mlkem768",
}


@lru_cache(maxsize=1)
def has_ml_kem() -> bool:
    """True if this machine's `cryptography`, and the OpenSSL that it was built with, have ML-KEM-768."""
    if mlkem is None:
        return False
    try:
        mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes(64))
    except exceptions.UnsupportedAlgorithm:
        return False
    return True


def is_supported(method: int) -> bool:
    return method == KeMethod.CURVE25519 or method in _CURVES or (method == KeMethod.ML_KEM_768 and has_ml_kem())


def name(method: int) -> str:
    """The name of a method in texts."""
    return _NAMES[KeMethod(method)]


class KeyExchange:
    """One side's secret of one exchange. `public` goes into the KE payload of the initiating side."""

    __slots__ = ("method", "public")

    def __init__(self, method: int, public: bytes) -> None:
        self.method = method
        self.public = public

    def shared(self, peer: bytes) -> bytes:
        """The shared secret, of the method's full length; MalformedMessage for a bad public value."""
        raise NotImplementedError


class _Curve25519(KeyExchange):
    __slots__ = ("_private",)

    def __init__(self, random: RandomSource) -> None:
        self._private = X25519PrivateKey.from_private_bytes(random(32))
        super().__init__(KeMethod.CURVE25519, self._private.public_key().public_bytes_raw())

    def shared(self, peer: bytes) -> bytes:
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError as error:  # wrong length, or the all-zero secret of a small-order point
            raise MalformedMessage("bad Curve25519 value") from error


class _Nist(KeyExchange):
    __slots__ = ("_curve", "_private", "_size")

    def __init__(self, method: int, random: RandomSource) -> None:
        self._curve, self._size = _CURVES[method]
        # Eight octets more than the order make the bias of the reduction negligible.
        value = int.from_bytes(random(self._size + 8), "big") % (_ORDERS[KeMethod(method)] - 1) + 1
        self._private = ec.derive_private_key(value, self._curve)
        numbers = self._private.public_key().public_numbers()
        super().__init__(method, numbers.x.to_bytes(self._size, "big") + numbers.y.to_bytes(self._size, "big"))

    def shared(self, peer: bytes) -> bytes:
        if len(peer) != 2 * self._size:
            raise MalformedMessage("bad length of a curve point")
        x, y = int.from_bytes(peer[: self._size], "big"), int.from_bytes(peer[self._size :], "big")
        try:
            public = ec.EllipticCurvePublicNumbers(x, y, self._curve).public_key()
            return self._private.exchange(ec.ECDH(), public)
        except ValueError as error:
            raise MalformedMessage("point is not on the curve") from error


class _MlKem768(KeyExchange):
    __slots__ = ("_private",)

    def __init__(self, random: RandomSource) -> None:
        self._private = mlkem.MLKEM768PrivateKey.from_seed_bytes(random(64))
        super().__init__(KeMethod.ML_KEM_768, self._private.public_key().public_bytes_raw())

    def shared(self, peer: bytes) -> bytes:
        if len(peer) != _ML_KEM_768_CIPHERTEXT:
            raise MalformedMessage("bad length of an ML-KEM ciphertext")
        try:
            return self._private.decapsulate(peer)
        except ValueError as error:
            raise MalformedMessage("bad ML-KEM ciphertext") from error


def begin(method: int, random: RandomSource) -> KeyExchange:
    """The initiator's half."""
    if method == KeMethod.CURVE25519:
        return _Curve25519(random)
    if method in _CURVES:
        return _Nist(method, random)
    if method == KeMethod.ML_KEM_768:
        return _MlKem768(random)
    raise UnsupportedAlgorithm(f"key exchange method {method}")


def answer(method: int, peer: bytes, random: RandomSource) -> tuple[bytes, bytes]:
    """The responder's half: its public value (ML-KEM: the ciphertext) and the shared secret."""
    if method == KeMethod.ML_KEM_768:
        try:
            secret, ciphertext = mlkem.MLKEM768PublicKey.from_public_bytes(peer).encapsulate()
        except ValueError as error:
            raise MalformedMessage("bad ML-KEM encapsulation key") from error
        return ciphertext, secret
    half = begin(method, random)
    return half.public, half.shared(peer)
