"""Confirmation: a router's signed statement of the policy in force there, for the next step of a deployment.

It names the version of the document that the router acts under, and for each interface the mode in its kernel and the
neighbours with which it is keyed. Values, octets, signature, and the differences from a document. Knows nothing of who
carries confirmations or of the steps that follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import cose
from agents.policy.document import (
    MAX_INTERFACES,
    MAX_NEIGHBORS,
    DomainName,
    InterfaceName,
    InterfacePolicy,
    PolicyDocument,
    ProtocolMode,
    RouterName,
)
from agents.policy.errors import PolicyError
from agents.policy.exact import exactly, written

LABEL = "router-keys/confirmation/1"
MAX_OCTETS = 49_152
"""It must fit one IKE message of several fragments."""
SUFFIX = ".confirmation"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InForce(_Value):
    """One interface of the document. `mode`: that of the kernel; None when the kernel has nothing of ours, because the
    interface does not exist or the kernel refused. `modes`: of protocols with another one, as in the document. `keyed`:
    neighbours with which keys are shared both ways, by name and in order."""

    name: InterfaceName
    mode: Mode | None
    modes: tuple[ProtocolMode, ...] | None = Field(default=None, max_length=len(RoutingProtocol))
    keyed: tuple[RouterName, ...] = Field(max_length=MAX_NEIGHBORS)

    @model_validator(mode="after")
    def _ordered(self) -> InForce:
        if list(self.keyed) != sorted(set(self.keyed)):
            raise ValueError(f"interface {self.name}: neighbours are out of order or repeated")
        return self


class Confirmation(_Value):
    """A router's statement. `at`: Unix seconds by its own clock, for people; `version` orders; `revocation`: the
    version of its revocation list, None when it has none."""

    domain: DomainName
    router: RouterName
    version: int = Field(ge=1, le=(1 << 63) - 1)
    at: int = Field(ge=0, le=1 << 40)
    interfaces: tuple[InForce, ...] = Field(max_length=MAX_INTERFACES)
    revocation: int | None = Field(default=None, ge=1, le=(1 << 63) - 1)

    @model_validator(mode="after")
    def _distinct(self) -> Confirmation:
        doubles = [name for name, count in Counter(each.name for each in self.interfaces).items() if count > 1]
        if doubles:
            raise ValueError(f"interface {doubles[0]} is repeated")
        return self

    def interface(self, name: str) -> InForce | None:
        """Its statement about this interface."""
        return next((each for each in self.interfaces if each.name == name), None)

    def says_the_same(self, other: Confirmation | None) -> bool:
        """True if only the time differs."""
        return other is not None and self.model_copy(update={"at": other.at}) == other


def missing(document: PolicyDocument, said: Confirmation | None, interfaces: Iterable[str] | None = None) -> list[str]:
    """The differences between a router's confirmation and its document, a sentence each; empty when everything is in
    force.

    `interfaces`: only these count (None: all). A confirmation of a later version than the document's counts too.
    """
    router = document.router
    if said is None:
        return [f"{router} has confirmed nothing"]
    if said.version < document.version:
        return [f"{router} has confirmed version {said.version}, and not yet {document.version}"]
    wanted = None if interfaces is None else set(interfaces)
    lacking = []
    for policy in document.interfaces:
        if wanted is None or policy.name in wanted:
            lacking += _missing(router, policy, said.interface(policy.name))
    return lacking


def _missing(router: str, policy: InterfacePolicy, state: InForce | None) -> list[str]:
    at = f"{router}:{policy.name}"
    if not policy.protocols:
        return []
    if state is None or state.mode is None:
        return [f"{at} has no policy in force"]
    others = {each.protocol: each.mode for each in state.modes or ()}
    differing = {
        protocol: (others.get(protocol, state.mode), mode)
        for protocol, mode in policy.by_protocol().items()
        if others.get(protocol, state.mode) is not mode
    }
    if policy.modes is None and state.modes is None and differing:
        return [f"{at} is {state.mode.value}, not {policy.mode.value}"]
    if differing:
        return [f"{at}: {each.value} is {has.value}, not {shall.value}" for each, (has, shall) in differing.items()]
    if not policy.protected:
        return []
    unkeyed = [each.router for each in policy.neighbors if each.router not in state.keyed]
    return [f"{at} is not keyed with {', '.join(unkeyed)}"] if unkeyed else []


# -- octets and signature ---------------------------------------------------------------------------


def sign_confirmation(confirmation: Confirmation, key: Ed25519PrivateKey) -> bytes:
    """As COSE_Sign1, by the router's own key. PolicyError when it is too long for a message."""
    signed = cose.sign(LABEL, written(confirmation), key)
    if len(signed) > MAX_OCTETS:
        raise PolicyError(f"a confirmation of {len(signed)} octets is longer than {MAX_OCTETS}")
    return signed


def verify_confirmation(data: bytes, key: Ed25519PublicKey, *, domain: str, router: str) -> Confirmation:
    """The confirmation, if this router's key signed it for this domain. PolicyError."""
    _bounded(data)
    confirmation = _decode(cose.verify(LABEL, data, key))
    if (confirmation.domain, confirmation.router) != (domain, router):
        raise PolicyError(f"the confirmation is of {confirmation.domain}/{confirmation.router}, not {domain}/{router}")
    return confirmation


def claimed_router(data: bytes) -> str:
    """The router that it claims to be of: only to find the key for its verification. PolicyError."""
    _bounded(data)
    return _decode(cose.unverified_payload(data)).router


def as_plain(confirmation: Confirmation) -> dict[str, Any]:
    """The confirmation in JSON form."""
    return confirmation.model_dump(mode="json", exclude={"domain", "router"})


def _bounded(data: bytes) -> None:
    if len(data) > MAX_OCTETS:
        raise PolicyError(f"a confirmation of {len(data)} octets is longer than {MAX_OCTETS}")


def _decode(payload: bytes) -> Confirmation:
    return exactly(Confirmation, payload, "confirmation")
