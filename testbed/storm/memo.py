"""Pure functions that remember: what one party has verified and decoded need not be computed again for another.

A simulation of 100,000 routers in one process meets every signed octet string several times: at the DKS, at its router,
at each neighbour. Signature checks and decoding are functions of their arguments alone, so the second result is the
first one. Nothing is skipped, and a wrong signature is never remembered. FOR SIMULATION ONLY.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.policy import cose, document, group

SMALL = 1 << 15
"""Group states and signatures that are remembered; documents are remembered all, as DKS and router share them."""


@contextmanager
def remembering() -> Iterator[None]:
    """Within this context, in this process."""
    verify, decode, state = cose.verify, document.decode_document, group._decode
    checked: dict[tuple[str, bytes, bytes], bytes] = {}
    raw: dict[int, tuple[Ed25519PublicKey, bytes]] = {}

    def octets(key: Ed25519PublicKey) -> bytes:
        known = raw.get(id(key))
        if known is None or known[0] is not key:
            if len(raw) > SMALL:
                raw.clear()
            known = raw[id(key)] = (key, key.public_bytes_raw())
        return known[1]

    @wraps(verify)
    def once(label: str, data: bytes, key: Ed25519PublicKey) -> bytes:
        place = (label, data, octets(key))
        payload = checked.get(place)
        if payload is None:
            payload = verify(label, data, key)
            if len(checked) > SMALL and label != document.LABEL:
                checked.clear()
            checked[place] = payload
        return payload

    replaced: list[tuple[Any, str, Callable[..., Any]]] = [
        (cose, "verify", once),
        (document, "decode_document", lru_cache(None)(decode)),
        (group, "_decode", lru_cache(SMALL)(state)),
    ]
    try:
        for module, name, function in replaced:
            setattr(module, name, function)
        yield
    finally:
        cose.verify, document.decode_document, group._decode = verify, decode, state
