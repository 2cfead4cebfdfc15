"""A verifier that remembers: what one party has verified and decoded need not be computed again for another.

A simulation of 100,000 routers in one process meets every signed octet string several times: at the DKS, at its router,
at each neighbour. Signature checks and decoding are functions of their arguments alone, so the second result is the
first one; what this process has signed or encoded itself it can verify and decode. A wrong signature is never right.
FOR SIMULATION ONLY.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.policy import document
from agents.policy.cose import Verifier
from agents.policy.document import PolicyDocument

SMALL = 1 << 15
"""Group states and their like that are remembered. Documents all are, as DKS and router share them."""
T = TypeVar("T")


class Remembering(Verifier):
    """For `agents.policy.cose.using`, in one process."""

    def __init__(self) -> None:
        self._right: dict[bool, dict[tuple[str, bytes, bytes], bytes]] = {True: {}, False: {}}
        self._documents: dict[bytes, PolicyDocument] = {}
        self._others: dict[tuple[object, bytes], Any] = {}
        self._raw: dict[int, tuple[object, bytes]] = {}

    def sign(self, label: str, payload: bytes, key: Ed25519PrivateKey) -> bytes:
        """As Verifier."""
        data = super().sign(label, payload, key)
        self._know(label, data, key, payload)
        return data

    def verify(self, label: str, data: bytes, key: Ed25519PublicKey) -> bytes:
        """As Verifier. A wrong signature is looked at each time."""
        payload = self._right[label == document.LABEL].get((label, data, self._octets(key)))
        if payload is None:
            payload = super().verify(label, data, key)
            self._know(label, data, key, payload)
        return payload

    def written(self, value: T, encode: Callable[[T], bytes]) -> bytes:
        """As Verifier."""
        payload = super().written(value, encode)
        if isinstance(value, PolicyDocument):
            self._documents[payload] = value
        return payload

    def read(self, payload: bytes, decode: Callable[[bytes], T]) -> T:
        """As Verifier."""
        whole: Any = self._documents.get(payload) or self._others.get((decode, payload))
        if whole is None:
            whole = super().read(payload, decode)
            if len(self._others) > SMALL:
                self._others.clear()
            self._others[decode, payload] = whole
        return whole  # type: ignore[no-any-return]

    def _octets(self, key: Ed25519PublicKey | Ed25519PrivateKey) -> bytes:
        known = self._raw.get(id(key))
        if known is None or known[0] is not key:
            if len(self._raw) > SMALL:
                self._raw.clear()
            public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
            known = self._raw[id(key)] = (key, public.public_bytes_raw())
        return known[1]

    def _know(self, label: str, data: bytes, key: Ed25519PublicKey | Ed25519PrivateKey, payload: bytes) -> None:
        table = self._right[label == document.LABEL]
        if table is self._right[False] and len(table) > SMALL:
            table.clear()
        table[label, data, self._octets(key)] = payload
