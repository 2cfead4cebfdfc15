"""How a signed document is carried in one message, and the check that it can be, before it is signed for a router.

A message has 64 fragments and 65,535 octets. Documents repeat themselves for many interfaces, so zlib (RFC 1950)
shrinks a large one to a quarter; a small one stays as it is. Knows nothing else of messages.
"""

from __future__ import annotations

import zlib

from agents.policy import cbor
from agents.policy.confirmation import MAX_OCTETS as MAX_CONFIRMATION
from agents.policy.confirmation import Confirmation, InForce
from agents.policy.document import PolicyDocument
from agents.policy.errors import PolicyError
from agents.policy.exact import plain

MAX_CARRIED = 60_000
"""Octets of a document in a message, beside the other content of an answer to a registration."""
MAX_DOCUMENT = cbor.MAX_OCTETS
"""The most octets of a document that any party reads."""
_PLAIN = 16_384
_ZLIB = 0x78
"""The first octet of zlib's format; a signed document begins with 0xd2 or 0x82."""
_SIGNATURE = 160


def packed(signed: bytes) -> bytes:
    """A signed document in its form for a message."""
    return signed if len(signed) <= _PLAIN else zlib.compress(signed, 9)


def unpacked(data: bytes) -> bytes:
    """The signed document, unverified. PolicyError for a form that `packed` does not give, before it takes more memory
    than a document may."""
    if data[:1] != bytes((_ZLIB,)):
        return data
    reader = zlib.decompressobj()
    try:
        signed = reader.decompress(data, MAX_DOCUMENT + 1)
    except zlib.error as error:
        raise PolicyError(f"a document that was packed incorrectly: {error}") from error
    if len(signed) > MAX_DOCUMENT or not reader.eof or reader.unused_data:
        raise PolicyError(f"a document that was packed incorrectly, or has more than {MAX_DOCUMENT} octets")
    return signed


def check_carried(document: PolicyDocument, signed: bytes) -> None:
    """PolicyError, with the numbers, when this document does not fit a message to its router, or the router's
    confirmation would not."""
    counts = (
        f"{len(document.interfaces)} interfaces with {sum(len(each.neighbors) for each in document.interfaces)} "
        f"neighbours and {len(document.pairs)} pairs"
    )
    if len(signed) > MAX_DOCUMENT or len(packed(signed)) > MAX_CARRIED:
        raise PolicyError(
            f"{document.router}: its document of {len(signed)} octets ({len(packed(signed))} packed) is more than the "
            f"{MAX_DOCUMENT} ({MAX_CARRIED}) that one message carries: {counts}; divide them among several routers"
        )
    octets = len(cbor.encode(plain(_fullest(document)))) + _SIGNATURE
    if octets > MAX_CONFIRMATION:
        raise PolicyError(
            f"{document.router}: its confirmation would have up to {octets} octets, more than the {MAX_CONFIRMATION} "
            f"that one message carries: {counts}; divide them among several routers, or give routers shorter names"
        )


def _fullest(document: PolicyDocument) -> Confirmation:
    """The longest confirmation that the router may send of this document."""
    interfaces = (
        InForce(
            name=each.name,
            mode=each.mode,
            modes=each.modes,
            keyed=tuple(sorted({neighbor.router for neighbor in each.neighbors})),
        )
        for each in document.interfaces
    )
    return Confirmation(
        domain=document.domain,
        router=document.router,
        version=document.version,
        at=1 << 40,
        interfaces=tuple(interfaces),
    )
