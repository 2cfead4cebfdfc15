"""The signed revocation list: every key that the domain has revoked and that a document may still name.

It propagates from any party that has it to any with an older one, so it is complete, small and signed by the domain's
root key only. When it would outgrow a message, the oldest entries go whose keys are named only in expired documents,
and the list says up to which expiry that holds (`expired_before`). A router with a document older than that cannot tell
from this list which of its neighbours are revoked, and accepts none (`Revocations.outdated`). Knows nothing of who
carries it or of what follows from it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agents.policy import cbor, cose
from agents.policy.document import DomainName, PolicyDocument, RouterName
from agents.policy.errors import PolicyError
from agents.policy.exact import exactly, plain
from agents.runtime import invalid

LABEL = "router-keys/revocation/1"
FILE = "revocation.cose"
MAX_ENTRIES = 1 << 12
MAX_ADMINISTRATORS = 64
"""At a time. The number of revoked ones is bounded by the list's octets."""
MAX_OCTETS = 53_248
"""The whole list must fit one IKE message, fragments put together."""
MAX_VERSION = (1 << 63) - 1
NO_LIST = bytes(32)
"""The digest that a party without a list announces."""

KeyHash = Annotated[bytes, Field(min_length=32, max_length=32)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


def key_hash(spki: bytes) -> bytes:
    """The name of a key: SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(spki).digest()


class Revoked(_Value):
    """A revoked key. `name`: its holder, for people to read; `key` alone decides."""

    name: RouterName
    key: KeyHash


class RevokedRouter(Revoked):
    """An entry as the Policy Server keeps it. `until`: Unix seconds at which the last document that names the key
    expires; 0: not known yet."""

    until: int = Field(default=0, ge=0, le=1 << 41)


class RevocationList(_Value):
    """All keys revoked up to `version` that are named in a document which expires after `expired_before` (Unix seconds;
    0: all keys ever revoked). `issued_at`: Unix seconds, for people; `version` alone orders lists."""

    domain: DomainName
    version: int = Field(ge=1, le=MAX_VERSION)
    issued_at: int = Field(ge=0, le=1 << 40)
    routers: tuple[Revoked, ...] = Field(max_length=MAX_ENTRIES)
    administrators: tuple[Revoked, ...] = Field(max_length=MAX_ENTRIES)
    expired_before: int = Field(default=0, ge=0, le=1 << 41)

    @model_validator(mode="after")
    def _ordered(self) -> RevocationList:
        for entries in (self.routers, self.administrators):
            keys = [each.key for each in entries]
            if any(low >= high for low, high in itertools.pairwise(keys)):
                raise ValueError("revoked keys are not in ascending order, or repeated")
        return self


def make_list(
    domain: str,
    version: int,
    issued_at: int,
    routers: Iterable[Revoked],
    administrators: Iterable[Revoked] = (),
    expired_before: int = 0,
) -> RevocationList:
    """The list with its entries in their order. PolicyError when they are too many."""
    try:
        return RevocationList(
            domain=domain,
            version=version,
            issued_at=issued_at,
            routers=_entries(routers),
            administrators=_entries(administrators),
            expired_before=expired_before,
        )
    except ValidationError as error:
        raise PolicyError(f"revocation list: {invalid.sentence(error.errors()[0])}") from error


def _entries(revoked: Iterable[Revoked]) -> tuple[Revoked, ...]:
    ordered = sorted(revoked, key=lambda each: each.key)
    return tuple(Revoked(name=each.name, key=each.key) for each in ordered)


def shortened(
    routers: Iterable[RevokedRouter], administrators: Iterable[Revoked], now_s: int
) -> tuple[tuple[RevokedRouter, ...], int]:
    """The entries that a present list has room for, and the expiry up to which the dropped ones were named; 0 when none
    was dropped. PolicyError, with the numbers, when too few documents have expired."""
    kept = sorted(routers, key=lambda each: (each.until, each.key))
    room = MAX_OCTETS - _FRAME - sum(_octets(each) for each in administrators)
    over = sum(_octets(each) for each in kept) - room
    gone = 0
    while over > 0 and gone < len(kept):
        over -= _octets(kept[gone])
        gone += 1
    if not gone:
        return tuple(kept), 0
    expired_before = kept[gone - 1].until
    rest = tuple(each for each in kept[gone:] if each.until > expired_before)
    if over > 0 or not 0 < expired_before <= now_s:
        raise PolicyError(
            f"{len(kept)} revoked keys do not fit a list of {MAX_OCTETS} octets, and documents that name the oldest of "
            f"them are valid for {max(0, expired_before - now_s)} s more: wait, or give documents a shorter validity_s"
        )
    return rest, expired_before


_FRAME = 512
"""Octets of a list without entries, with a margin."""


def _octets(entry: Revoked) -> int:
    return len(cbor.encode({"name": entry.name, "key": entry.key}))


def _payload(revocation: RevocationList) -> bytes:
    """A list of all keys ever revoked leaves the field out, as lists did before it existed."""
    value = {name: plain(getattr(revocation, name)) for name in type(revocation).model_fields}
    if not revocation.expired_before:
        del value["expired_before"]
    return cbor.encode(value)


def sign_list(revocation: RevocationList, root: Ed25519PrivateKey) -> bytes:
    """The list as COSE_Sign1. PolicyError when it is longer than any party accepts."""
    signed = cose.sign(LABEL, _payload(revocation), root)
    if len(signed) > MAX_OCTETS:
        raise PolicyError(f"a revocation list of {len(signed)} octets is longer than {MAX_OCTETS}")
    return signed


def verify_list(data: bytes, root: Ed25519PublicKey, *, domain: str) -> RevocationList:
    """The list, if the domain's root key signed it for this domain. PolicyError."""
    if len(data) > MAX_OCTETS:
        raise PolicyError(f"a revocation list of {len(data)} octets is longer than {MAX_OCTETS}")
    payload = cose.verify(LABEL, data, root)
    revoked = exactly(RevocationList, payload, "revocation list", _payload)
    if revoked.domain != domain:
        raise PolicyError(f"the revocation list is of domain {revoked.domain}")
    return revoked


@dataclass(frozen=True, slots=True)
class _Held:
    signed: bytes
    revoked: RevocationList
    routers: frozenset[bytes]
    administrators: frozenset[bytes]


class Revocations:
    """The newest list that one party has, or none: version 0."""

    def __init__(self, domain: str, root: Ed25519PublicKey) -> None:
        self._domain, self._root = domain, root
        self._held: _Held | None = None

    @property
    def version(self) -> int:
        return self._held.revoked.version if self._held is not None else 0

    @property
    def signed(self) -> bytes | None:
        """The list's octets, to pass on."""
        return self._held.signed if self._held is not None else None

    @property
    def digest(self) -> bytes:
        """SHA-256 of the list's octets, which would show two lists of one version."""
        return hashlib.sha256(self._held.signed).digest() if self._held is not None else NO_LIST

    @property
    def current(self) -> RevocationList | None:
        """The list itself."""
        return self._held.revoked if self._held is not None else None

    def take(self, signed: bytes) -> RevocationList | None:
        """Hold this list from now on; None when the present one is as new.

        PolicyError for a list that the root key did not sign for this domain, or that differs from the present one of
        the same version: then the Policy Server has lost its history, or its key has been stolen.
        """
        if self._held is not None and signed == self._held.signed:
            return None
        revoked = verify_list(signed, self._root, domain=self._domain)
        if revoked.version < self.version:
            return None
        if revoked.version == self.version:
            raise PolicyError(f"there are two revocation lists of version {revoked.version}")
        self._held = _Held(
            signed,
            revoked,
            frozenset(each.key for each in revoked.routers),
            frozenset(each.key for each in revoked.administrators),
        )
        return revoked

    def revokes(self, spki: bytes) -> bool:
        """True if this router's key is revoked."""
        return self._held is not None and key_hash(spki) in self._held.routers

    def revokes_administrator(self, spki: bytes) -> bool:
        """True if this administrator's key is revoked."""
        return self._held is not None and key_hash(spki) in self._held.administrators

    def revokes_administrator_hash(self, key: bytes) -> bool:
        """As `revokes_administrator`, for a key of which only the hash is known."""
        return self._held is not None and key in self._held.administrators

    def outdated(self, document: PolicyDocument) -> bool:
        """True if this document expired so long ago that the list may lack revoked keys that it names."""
        return self._held is not None and document.expires_at <= self._held.revoked.expired_before

    def without_revoked(self, document: PolicyDocument) -> PolicyDocument:
        """The document in force: without neighbours and pairs whose keys are revoked; without any, if the router's own
        key is revoked or its document is `outdated`."""
        alone = self.revokes(document.identity) or self.outdated(document)
        interfaces = tuple(
            each.model_copy(
                update={
                    "neighbors": tuple(
                        neighbor for neighbor in each.neighbors if not alone and not self.revokes(neighbor.key)
                    )
                }
            )
            for each in document.interfaces
        )
        pairs = tuple(each for each in document.pairs if not alone and not self.revokes(each.key))
        if (interfaces, pairs) == (document.interfaces, document.pairs):
            return document
        return document.model_copy(update={"interfaces": interfaces, "pairs": pairs})
