"""The signed revocation list: every key that the domain has taken back, for ever, in one object.

It spreads by itself, from any party that has it to any that has an older one, so it is complete, small and
signed by the domain's root key alone. Knows nothing of who carries it or what is done about the revoked.
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
from agents.policy.document import DomainName, PolicyDocument, RouterName, plain
from agents.policy.errors import PolicyError

LABEL = "router-keys/revocation/1"
FILE = "revocation.cose"
MAX_ROUTERS = 400
MAX_ADMINISTRATORS = 64
MAX_OCTETS = 53_248
"""The whole list must fit one IKE message, fragments put together."""
MAX_VERSION = (1 << 63) - 1
NO_LIST = bytes(32)
"""The digest that is shown by a party without any list."""

KeyHash = Annotated[bytes, Field(min_length=32, max_length=32)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


def key_hash(spki: bytes) -> bytes:
    """What names a key: SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(spki).digest()


class Revoked(_Value):
    """A key that counts no more. `name`: who had it, for people to read; `key` alone decides."""

    name: RouterName
    key: KeyHash


class RevocationList(_Value):
    """All keys revoked up to `version`. `issued_at`: Unix seconds, for people; `version` alone orders lists."""

    domain: DomainName
    version: int = Field(ge=1, le=MAX_VERSION)
    issued_at: int = Field(ge=0, le=1 << 40)
    routers: tuple[Revoked, ...] = Field(max_length=MAX_ROUTERS)
    administrators: tuple[Revoked, ...] = Field(max_length=MAX_ADMINISTRATORS)

    @model_validator(mode="after")
    def _ordered(self) -> RevocationList:
        for entries in (self.routers, self.administrators):
            keys = [each.key for each in entries]
            if any(low >= high for low, high in itertools.pairwise(keys)):
                raise ValueError("revoked keys are not in ascending order, each once")
        return self


def make_list(
    domain: str, version: int, issued_at: int, routers: Iterable[Revoked], administrators: Iterable[Revoked] = ()
) -> RevocationList:
    """The list with its entries in their order. PolicyError when they are too many."""
    try:
        return RevocationList(
            domain=domain,
            version=version,
            issued_at=issued_at,
            routers=tuple(sorted(routers, key=lambda each: each.key)),
            administrators=tuple(sorted(administrators, key=lambda each: each.key)),
        )
    except ValidationError as error:
        raise PolicyError(f"revocation list: {error.errors()[0]['msg']}") from error


def sign_list(revocation: RevocationList, root: Ed25519PrivateKey) -> bytes:
    """The list as COSE_Sign1. PolicyError when it is longer than any party takes."""
    signed = cose.sign(LABEL, cbor.encode(plain(revocation)), root)
    if len(signed) > MAX_OCTETS:
        raise PolicyError(f"a revocation list of {len(signed)} octets is longer than {MAX_OCTETS}")
    return signed


def verify_list(data: bytes, root: Ed25519PublicKey, *, domain: str) -> RevocationList:
    """The list, if the domain's root key signed it for this domain. PolicyError."""
    if len(data) > MAX_OCTETS:
        raise PolicyError(f"a revocation list of {len(data)} octets is longer than {MAX_OCTETS}")
    payload = cose.verify(LABEL, data, root)
    try:
        found = RevocationList.model_validate(cbor.decode(payload))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise PolicyError(f"revocation list: {place or 'whole'}: {first['msg']}") from error
    if cbor.encode(plain(found)) != payload:
        raise PolicyError("revocation list holds a value in another form than its own")
    if found.domain != domain:
        raise PolicyError(f"the revocation list is of domain {found.domain}")
    return found


@dataclass(frozen=True, slots=True)
class _Held:
    signed: bytes
    found: RevocationList
    routers: frozenset[bytes]
    administrators: frozenset[bytes]


class Revocations:
    """The newest list that one party has, or none: version 0."""

    def __init__(self, domain: str, root: Ed25519PublicKey) -> None:
        self._domain, self._root = domain, root
        self._held: _Held | None = None

    @property
    def version(self) -> int:
        return self._held.found.version if self._held is not None else 0

    @property
    def signed(self) -> bytes | None:
        """The list's octets, to be passed on."""
        return self._held.signed if self._held is not None else None

    @property
    def digest(self) -> bytes:
        """SHA-256 of the list's octets: two lists of one version would show."""
        return hashlib.sha256(self._held.signed).digest() if self._held is not None else NO_LIST

    @property
    def current(self) -> RevocationList | None:
        """The list itself."""
        return self._held.found if self._held is not None else None

    def take(self, signed: bytes) -> RevocationList | None:
        """Have this list from now on; None when the one that is held is as new.

        PolicyError for one that the root key did not sign for this domain, or that says other things under the
        version that is held: the Policy Server then has lost its history, or its key has been stolen.
        """
        if self._held is not None and signed == self._held.signed:
            return None
        found = verify_list(signed, self._root, domain=self._domain)
        if found.version < self.version:
            return None
        if found.version == self.version:
            raise PolicyError(f"there are two revocation lists of version {found.version}")
        self._held = _Held(
            signed,
            found,
            frozenset(each.key for each in found.routers),
            frozenset(each.key for each in found.administrators),
        )
        return found

    def revokes(self, spki: bytes) -> bool:
        """Whether this router's key counts no more."""
        return self._held is not None and key_hash(spki) in self._held.routers

    def revokes_administrator(self, spki: bytes) -> bool:
        """Whether this administrator's key counts no more."""
        return self._held is not None and key_hash(spki) in self._held.administrators

    def revokes_administrator_hash(self, key: bytes) -> bool:
        """As `revokes_administrator`, of a key of which only the hash is known."""
        return self._held is not None and key in self._held.administrators

    def without_revoked(self, document: PolicyDocument) -> PolicyDocument:
        """The document as it is to be acted on: without neighbours and pairs whose keys are revoked, and for a
        router whose own key is revoked without any."""
        alone = self.revokes(document.identity)
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
