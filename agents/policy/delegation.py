"""Administrators: keys to which the domain's root key delegates the signing of policy documents.

Routers pin the root key only. An administrator's document is preceded by the delegation: an array of the two signed
objects. The root key can stay offline. Only it can revoke an administrator's key (agents.policy.revocation) and sign
revocation lists. Knows nothing of the documents' content.
"""

from __future__ import annotations

from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from agents.policy import cbor, cose
from agents.policy.errors import PolicyError
from agents.policy.exact import exactly, written
from agents.policy.keys import public_key_from_spki
from agents.policy.names import DOMAIN_PATTERN, ROUTER_PATTERN

LABEL = "router-keys/administrator/1"
MAX_OCTETS = 1024


class Delegation(BaseModel):
    """`key`: SubjectPublicKeyInfo. Times are Unix seconds; documents are accepted before `expires_at` only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: Annotated[str, StringConstraints(pattern=DOMAIN_PATTERN)]
    name: Annotated[str, StringConstraints(pattern=ROUTER_PATTERN)]
    key: bytes = Field(min_length=40, max_length=200)
    issued_at: int = Field(ge=0, le=1 << 40)
    expires_at: int = Field(ge=0, le=1 << 40)


def sign_delegation(delegation: Delegation, root: Ed25519PrivateKey) -> bytes:
    """The delegation as COSE_Sign1, by the domain's root key."""
    return cose.sign(LABEL, written(delegation), root)


def verify_delegation(
    data: bytes, root: Ed25519PublicKey, *, domain: str, wall_s: float | None = None
) -> tuple[Delegation, Ed25519PublicKey]:
    """The delegation and its key, if the root key signed it for this domain and it has not expired at the Unix time
    `wall_s` (None: not checked). PolicyError."""
    if len(data) > MAX_OCTETS:
        raise PolicyError(f"a delegation of {len(data)} octets is longer than {MAX_OCTETS}")
    payload = cose.verify(LABEL, data, root)
    delegation = exactly(Delegation, payload, "delegation")
    if delegation.domain != domain:
        raise PolicyError(f"the delegation is of domain {delegation.domain}")
    if wall_s is not None and wall_s >= delegation.expires_at:
        raise PolicyError(f"the delegation of administrator {delegation.name} has expired")
    return delegation, public_key_from_spki(delegation.key)


def join(delegation: bytes, signed: bytes) -> bytes:
    """A document with the delegation of its signer."""
    return cbor.encode([delegation, signed])


def split(data: bytes) -> tuple[bytes | None, bytes]:
    """Delegation and document; the delegation is None if the root key signed the document. PolicyError."""
    if data[:1] != _ARRAY_OF_TWO:
        return None, data
    value = cbor.decode(data)
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(each, bytes) for each in value)):
        raise PolicyError("neither a signed document nor a document with its delegation")
    return value[0], value[1]


def signer_of(data: bytes, root: Ed25519PublicKey, *, domain: str) -> tuple[str, bytes]:
    """Name and key (SubjectPublicKeyInfo) of the administrator that signed a document; both empty if the root key did.
    PolicyError."""
    delegation, _signed = split(data)
    if delegation is None:
        return "", b""
    verified, _key = verify_delegation(delegation, root, domain=domain)
    return verified.name, verified.key


_ARRAY_OF_TWO = b"\x82"
