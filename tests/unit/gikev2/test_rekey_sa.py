"""The Rekey SA in a registration: what a member takes, and what it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.gikev2 import UnusableGroup
from agents.gikev2.gsa import GsaPayload
from agents.gikev2.kd import KdPayload
from agents.gikev2.rekey import KEYMAT_OCTETS, RekeySa
from agents.gikev2.rekey_sa import RekeyGrant, add_rekey_sa, granted
from agents.ikev2 import IntegrityFailure, Transform
from agents.policy.keys import spki

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1").public_key()
KWK = bytes(range(32))
GRANT = RekeyGrant(RekeySa(bytes(range(1, 17)), bytes(range(KEYMAT_OCTETS))), 86400, 7)


def made(grant: RekeyGrant = GRANT) -> tuple[GsaPayload, KdPayload]:
    """GSA and KD as they come off the wire."""
    gsa, kd = add_rekey_sa(GsaPayload(()), KdPayload(()), grant, ("10.0.0.1", 848), spki(KEY), KWK)
    return GsaPayload.parse(gsa.body()), KdPayload.parse(kd.body())


def with_transforms(gsa: GsaPayload, transforms: tuple[Transform, ...]) -> GsaPayload:
    return GsaPayload((replace(gsa.policies[0], transforms=transforms),))


def test_a_member_gets_the_sa_its_lifetime_and_its_first_message_id() -> None:
    gsa, kd = made()
    assert granted(gsa, kd, KEY, KWK) == GRANT
    assert gsa.rekey is not None and gsa.rekey.destination.start_port == 848


def test_a_registration_without_a_rekey_sa_grants_none() -> None:
    assert granted(GsaPayload(()), KdPayload(()), KEY, KWK) is None


def test_implicit_authentication_is_not_taken() -> None:
    gsa, kd = made()
    encr, kwa, _gcauth = gsa.policies[0].transforms
    for transforms in ((encr, kwa, Transform(14, 1)), (encr, kwa), (encr, kwa, Transform(14, 2))):
        with pytest.raises(UnusableGroup, match="signatures"):
            granted(with_transforms(gsa, transforms), kd, KEY, KWK)


def test_the_signature_key_must_be_that_of_the_key_server() -> None:
    gsa, kd = made()
    with pytest.raises(UnusableGroup, match="a signature key that is not the key server's"):
        granted(gsa, kd, OTHER, KWK)
    assert kd.member is not None
    with pytest.raises(UnusableGroup, match="without the key"):
        granted(gsa, KdPayload(kd.bags), KEY, KWK)
    with pytest.raises(UnusableGroup, match="not an Ed25519"):
        granted(gsa, KdPayload(kd.bags, replace(kd.member, auth_key=b"\x30\x00")), KEY, KWK)


def test_keys_under_another_ike_sa_are_not_taken() -> None:
    gsa, kd = made()
    with pytest.raises(IntegrityFailure):
        granted(gsa, kd, KEY, bytes(32))


def test_a_rekey_sa_without_keys_or_lifetime_is_not_taken() -> None:
    gsa, kd = made()
    with pytest.raises(UnusableGroup, match="without its key"):
        granted(gsa, KdPayload((), kd.member), KEY, KWK)
    with pytest.raises(UnusableGroup, match="lifetime"):
        granted(GsaPayload((replace(gsa.policies[0], attributes=()),)), kd, KEY, KWK)


def test_the_keys_do_not_show() -> None:
    assert "0102030405" not in repr(GRANT) and GRANT.sa.keymat.hex() not in repr(made())
