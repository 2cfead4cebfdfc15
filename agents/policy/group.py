"""Group state: a key server's signed statement of the generation of a group's keys.

A receiver accepts no pair (v, g) lower than one it has had, across reboots too. Knows nothing of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field

from agents.policy import cose
from agents.policy.document import Issuer as Issuer
from agents.policy.errors import PolicyError
from agents.policy.exact import exactly, written
from agents.policy.keys import public_key_from_spki
from agents.policy.names import GroupId

LABEL = "router-keys/group-state/1"
MAX_COUNTER = (1 << 63) - 1
MOST_AHEAD = 1 << 36
"""How far beyond the known generation of a group another party's statement is believed: our knowledge may come from an
older backup, but no party may use up the numbers."""


MOST_VERSIONS_AHEAD = 1 << 20
"""How far beyond the version of the policy in force a version is believed: no administrator commits so often that a
router could have missed more."""


class GroupState(BaseModel):
    """`v`: version of the policy document; `g`: generation; `issuer`: the kind of key server that signs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: str
    router: str
    interface: str
    protocol: str
    v: int = Field(ge=0, le=MAX_COUNTER)
    g: int = Field(ge=0, le=MAX_COUNTER)
    issuer: Issuer

    @classmethod
    def of(cls, group: GroupId, v: int, g: int, issuer: Issuer) -> GroupState:
        """The state of this group."""
        return cls(
            domain=group.domain,
            router=group.router,
            interface=group.interface,
            protocol=group.protocol,
            v=v,
            g=g,
            issuer=issuer,
        )

    @property
    def group(self) -> GroupId:
        return GroupId(self.domain, self.router, self.interface, self.protocol)

    @property
    def counters(self) -> tuple[int, int]:
        """(v, g), in the order in which they are compared."""
        return self.v, self.g


@dataclass(frozen=True, slots=True)
class SignedState:
    """A state with its signed octets. Its maker has verified or signed it."""

    said: GroupState
    octets: bytes

    @classmethod
    def sign(cls, state: GroupState, key: Ed25519PrivateKey) -> SignedState:
        """Our own signed state."""
        return cls(state, sign_group_state(state, key))


def sign_group_state(state: GroupState, key: Ed25519PrivateKey) -> bytes:
    """The state as COSE_Sign1, by the key server's own key."""
    return cose.sign(LABEL, written(state), key)


def verify_group_state(
    data: bytes, key: Ed25519PublicKey, group: GroupId, minimum: tuple[int, int] = (0, 0)
) -> GroupState:
    """The state, if this key signed it for this group and it is not lower than `minimum` (v, g). PolicyError."""
    state = _read(cose.verify(LABEL, data, key))
    if state.group != group:
        raise PolicyError(f"the state is of group {state.group}, not {group}")
    if state.counters < minimum:
        raise PolicyError(f"group {group}: state {state.counters} is older than {minimum}")
    return state


def verify_issued_state(
    data: bytes,
    key_of: Callable[[Issuer], Ed25519PublicKey | None],
    group: GroupId,
    minimum: tuple[int, int] = (0, 0),
) -> GroupState:
    """As `verify_group_state`, by the key of the issuer that the state names. `key_of` gives None for an issuer that
    may not sign for this group. PolicyError."""
    issuer = _read(cose.unverified_payload(data)).issuer
    key = key_of(issuer)
    if key is None:
        raise PolicyError(f"group {group}: {issuer} is not its issuer")
    return verify_group_state(data, key, group, minimum)


def signed_by(data: bytes, keys: Iterable[bytes]) -> bool:
    """True if one of these keys (SubjectPublicKeyInfo) signed a state."""
    for key in keys:
        try:
            cose.verify(LABEL, data, public_key_from_spki(key))
            return True
        except PolicyError:
            continue
    return False


def claimed_group(data: bytes) -> GroupId:
    """The group that a signed state claims to be of: only to find the key for its verification. PolicyError."""
    return _read(cose.unverified_payload(data)).group


def _read(payload: bytes) -> GroupState:
    return cose.verifier().read(payload, _decode)


def _decode(payload: bytes) -> GroupState:
    return exactly(GroupState, payload, "group state")
