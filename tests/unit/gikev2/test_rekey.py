"""GSA_REKEY: only what the key server signed, and only once."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agents.gikev2.rekey import KEYMAT_OCTETS, RekeyReceiver, RekeySa, RekeySender
from agents.gikev2.server import KeyServer
from agents.ikev2 import IkeError, IntegrityFailure, encode_payloads
from agents.ikev2.codec.header import Header
from agents.ikev2.protect import seal_message
from agents.ikev2.registry import ExchangeType

SA = RekeySa(bytes(range(1, 17)), bytes(range(KEYMAT_OCTETS)))
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PAYLOADS = KeyServer.delete([0x10001])


def sender(key: Ed25519PrivateKey = KEY) -> RekeySender:
    return RekeySender(SA, key, lambda count: bytes(count))


def test_a_signed_message_is_opened_once() -> None:
    receiver = RekeyReceiver(SA, KEY.public_key())
    datagram = sender().message(PAYLOADS)
    assert receiver.open(datagram) == PAYLOADS
    with pytest.raises(IntegrityFailure, match="a replay"):
        receiver.open(datagram)


def test_messages_may_be_lost_but_not_come_late() -> None:
    source, receiver = sender(), RekeyReceiver(SA, KEY.public_key())
    first, second = source.message(PAYLOADS), source.message(PAYLOADS)
    receiver.open(second)
    with pytest.raises(IntegrityFailure):
        receiver.open(first)


def test_a_message_before_the_initial_message_id_is_refused() -> None:
    with pytest.raises(IntegrityFailure, match="a replay"):
        RekeyReceiver(SA, KEY.public_key(), initial_message_id=1).open(sender().message(PAYLOADS))


def test_a_member_that_knows_the_group_key_cannot_forge_a_rekey() -> None:
    member = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")
    with pytest.raises(IntegrityFailure, match="signature"):
        RekeyReceiver(SA, KEY.public_key()).open(sender(member).message(PAYLOADS))


def test_a_message_without_a_signature_is_refused() -> None:
    first, inner = encode_payloads(PAYLOADS)
    header = Header(SA.spi[:8], SA.spi[8:], 46, ExchangeType.GSA_REKEY, 8, 0)
    datagram = seal_message(header, first, inner, SA.protection(lambda count: bytes(count)))
    with pytest.raises(IntegrityFailure, match="signature"):
        RekeyReceiver(SA, KEY.public_key()).open(datagram)


class NeverAsked:
    """A public key that must not be used: a signature costs far more to verify than a MAC, and strangers send both."""

    def verify(self, signature: bytes, data: bytes) -> None:
        raise AssertionError("the signature was verified before the integrity check")


@given(st.data())
def test_any_changed_octet_is_refused_before_the_signature_is_looked_at(data: st.DataObject) -> None:
    octets = bytearray(sender().message(PAYLOADS))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IkeError):
        RekeyReceiver(SA, NeverAsked()).open(bytes(octets))  # type: ignore[arg-type]


def test_the_signature_of_an_unchanged_message_is_looked_at() -> None:
    with pytest.raises(AssertionError, match="verified"):
        RekeyReceiver(SA, NeverAsked()).open(sender().message(PAYLOADS))  # type: ignore[arg-type]


def test_keys_do_not_show_in_a_repr() -> None:
    assert "keymat" not in repr(SA)
