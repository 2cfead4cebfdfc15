"""Pure functions that remember: what one party has verified and decoded need not be computed again for another.

A simulation of 100,000 routers in one process meets every signed octet string several times: at the DKS, at its router,
at each neighbour. Signature checks and decoding are functions of their arguments alone, so the second result is the
first one; what this process has signed or encoded itself it can verify and decode. A wrong signature is never right.
FOR SIMULATION ONLY.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.policy import cose, document, group
from agents.policy.document import PolicyDocument

SMALL = 1 << 15
"""Group states and their like that are remembered. Documents all are, as DKS and router share them."""


@contextmanager
def remembering() -> Iterator[None]:
    """Within this context, in this process."""
    sign, verify, state = cose.sign, cose.verify, group._decode
    encode, decode = document.encode_document, document.decode_document
    right: dict[bool, dict[tuple[str, bytes, bytes], bytes]] = {True: {}, False: {}}
    documents: dict[bytes, PolicyDocument] = {}
    raw: dict[int, tuple[object, bytes]] = {}

    def octets(key: Ed25519PublicKey | Ed25519PrivateKey) -> bytes:
        known = raw.get(id(key))
        if known is None or known[0] is not key:
            if len(raw) > SMALL:
                raw.clear()
            public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
            known = raw[id(key)] = (key, public.public_bytes_raw())
        return known[1]

    def know(label: str, data: bytes, key: Ed25519PublicKey | Ed25519PrivateKey, payload: bytes) -> None:
        table = right[label == document.LABEL]
        if table is right[False] and len(table) > SMALL:
            table.clear()
        table[label, data, octets(key)] = payload

    def signing(label: str, payload: bytes, key: Ed25519PrivateKey) -> bytes:
        data = sign(label, payload, key)
        know(label, data, key, payload)
        return data

    def verifying(label: str, data: bytes, key: Ed25519PublicKey) -> bytes:
        payload = right[label == document.LABEL].get((label, data, octets(key)))
        if payload is None:
            payload = verify(label, data, key)
            know(label, data, key, payload)
        return payload

    def encoding(whole: PolicyDocument) -> bytes:
        payload = encode(whole)
        documents[payload] = whole
        return payload

    def decoding(payload: bytes) -> PolicyDocument:
        found = documents.get(payload)
        return decode(payload) if found is None else found

    replaced: list[tuple[Any, str, Callable[..., Any], Callable[..., Any]]] = [
        (cose, "sign", sign, signing),
        (cose, "verify", verify, verifying),
        (document, "encode_document", encode, encoding),
        (document, "decode_document", decode, decoding),
        (group, "_decode", state, lru_cache(SMALL)(state)),
    ]
    try:
        for module, name, _before, function in replaced:
            setattr(module, name, function)
        yield
    finally:
        for module, name, before, _function in replaced:
            setattr(module, name, before)
