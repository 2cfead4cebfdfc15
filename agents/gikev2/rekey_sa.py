"""The Rekey SA in GSA and KD of a registration: its policy, keys and signature key (RFC 9838 §4.4.2, §4.5).

A Rekey SA has one member here. Its messages go to one address anyway. So pair keys stay with their own members, and an
excluded member has no key under which others get theirs. Only explicit signatures with Ed25519 (GCAUTH 2): with
implicit ones any member could forge a rekey. Knows nothing of membership.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.gikev2.errors import UnusableGroup
from agents.gikev2.gsa import GroupPolicy, GsaPayload
from agents.gikev2.kd import GroupKeyBag, KdPayload, MemberKeyBag, unwrap_key, wrap_key
from agents.gikev2.registry import GsaAttribute
from agents.gikev2.rekey import RekeySa
from agents.ikev2 import Attribute, TrafficSelector, Transform, transform
from agents.ikev2.auth import ED25519_IDENTIFIER
from agents.ikev2.registry import Encr, Kwa, Protocol, TransformType
from agents.policy.errors import PolicyError
from agents.policy.keys import public_key_from_spki

SIGNATURE_ALGORITHM_IDENTIFIER = 18
"""Attribute of the GCAUTH transform, RFC 9838 §4.4.2.1.1."""
GCAUTH_DIGITAL_SIGNATURE = 2
UDP = 17

_TRANSFORMS = (
    transform(TransformType.ENCR, Encr.AES_GCM_16, 256),
    transform(TransformType.KWA, Kwa.KW_5649_256),
    Transform(
        int(TransformType.GCAUTH),
        GCAUTH_DIGITAL_SIGNATURE,
        (Attribute(SIGNATURE_ALGORITHM_IDENTIFIER, ED25519_IDENTIFIER),),
    ),
)
_ANYWHERE = TrafficSelector(IPv4Address(0), IPv4Address(0xFFFFFFFF), UDP)


@dataclass(frozen=True, slots=True)
class RekeyGrant:
    """The Rekey SA as a member gets it: the SA, its lifetime in seconds, and the first valid Message ID."""

    sa: RekeySa
    lifetime_s: int
    initial_message_id: int = 0


def add_rekey_sa(
    gsa: GsaPayload, kd: KdPayload, grant: RekeyGrant, member: tuple[str, int], key: bytes, kwk: bytes
) -> tuple[GsaPayload, KdPayload]:
    """GSA and KD of a registration with this Rekey SA. `member`: the address and port that messages go to; `key`: the
    signature key, as SubjectPublicKeyInfo; `kwk`: GSK_w of the IKE SA that carries the registration."""
    address = ip_address(member[0])
    attributes = [Attribute(GsaAttribute.GSA_KEY_LIFETIME, grant.lifetime_s.to_bytes(4, "big"))]
    if grant.initial_message_id:
        number = grant.initial_message_id.to_bytes(4, "big")
        attributes.append(Attribute(GsaAttribute.GSA_INITIAL_MESSAGE_ID, number))
    policy = GroupPolicy(
        Protocol.GIKE_UPDATE,
        grant.sa.spi,
        _ANYWHERE,
        TrafficSelector(address, address, UDP, member[1], member[1]),
        _TRANSFORMS,
        tuple(attributes),
    )
    bag = GroupKeyBag(Protocol.GIKE_UPDATE, grant.sa.spi, (wrap_key(kwk, grant.sa.keymat),))
    own = MemberKeyBag(auth_key=key) if kd.member is None else replace(kd.member, auth_key=key)
    return GsaPayload((policy, *gsa.policies), gsa.group_wide), KdPayload((bag, *kd.bags), own)


def granted(gsa: GsaPayload, kd: KdPayload, key: Ed25519PublicKey, kwk: bytes) -> RekeyGrant | None:
    """The Rekey SA of a registration; None when it has none. `key`: the key server's, from policy: no other key is ever
    accepted from the message.

    UnusableGroup for another algorithm, implicit signatures, another key or no lifetime; IntegrityFailure for keys that
    are not wrapped under `kwk`.
    """
    policy = gsa.rekey
    if policy is None:
        return None
    if len(policy.transforms) != len(_TRANSFORMS) or set(policy.transforms) != set(_TRANSFORMS):
        raise UnusableGroup("a Rekey SA with other algorithms than AES-GCM-256, KW_5649_256 and Ed25519 signatures")
    if kd.member is None or kd.member.auth_key is None or kd.member.wrap_keys:
        raise UnusableGroup("a Rekey SA without the key of its signatures, or with a key path")
    try:
        signer = public_key_from_spki(kd.member.auth_key)
    except (PolicyError, ValueError, UnsupportedAlgorithm) as error:
        raise UnusableGroup("a Rekey SA whose signature key is not an Ed25519 key") from error
    if signer.public_bytes_raw() != key.public_bytes_raw():
        raise UnusableGroup("a Rekey SA with a signature key that is not the key server's")
    bag = kd.bag(policy.protocol, policy.spi)
    if bag is None or len(bag.keys) != 1 or (bag.keys[0].key_id, bag.keys[0].kwk_id) != (0, 0):
        raise UnusableGroup("a Rekey SA without its key")
    if not policy.lifetime_s:
        raise UnusableGroup("a Rekey SA without a lifetime")
    sa = RekeySa(policy.spi, unwrap_key(kwk, bag.keys[0]))
    return RekeyGrant(sa, policy.lifetime_s, policy.initial_message_id)
