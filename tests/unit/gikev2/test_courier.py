"""What is said of policy documents in messages has one form and bounds."""

from __future__ import annotations

import pytest

from agents.gikev2 import notifies
from agents.gikev2.notifies import AllHeld, Held, WantedDocument
from agents.gikev2.registry import PrivateNotify
from agents.ikev2 import MalformedMessage, NotifyPayload
from agents.policy.carriage import MAX_CARRIED


def held(data: bytes) -> AllHeld | None:
    return notifies.find_documents_held([NotifyPayload(PrivateNotify.DOCUMENTS_HELD, data)])


def test_what_is_held_and_what_is_wanted_come_back_as_they_were_said() -> None:
    some = (Held("r1", 1), Held("a-router.of-63-letters" + "x" * 41, notifies.MAX_VERSION, handed=True))
    for whole in (False, True):
        assert notifies.find_documents_held([notifies.documents_held(some, whole=whole)]) == AllHeld(some, whole)
    wanted = WantedDocument("r1", 0)
    assert notifies.find_document_wanted([notifies.document_wanted(wanted)]) == wanted
    signed = bytes(20_000)
    payload = notifies.carried_document(signed)
    assert len(payload.data) < MAX_CARRIED and notifies.find_carried_document([payload]) == signed
    assert notifies.find_documents_held([]) is None and notifies.find_document_wanted([]) is None


def test_so_many_documents_are_told_of_in_a_message_and_one_more_is_malformed() -> None:
    many = [Held(f"r{number}", 1) for number in range(notifies.MAX_HELD + 1)]
    payload = notifies.documents_held(many, whole=True)
    found = notifies.find_documents_held([payload])
    assert found is not None and found.documents == tuple(many[: notifies.MAX_HELD])
    assert len(notifies.documents_held([Held("x" * 63, 1)] * notifies.MAX_HELD, whole=True).data) < 12_000
    more = payload.data + bytes(7) + b"\x01\x00\x01z"
    with pytest.raises(MalformedMessage, match="more than 160"):
        held(more)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" + bytes(5),
        b"\0" + bytes(7) + b"\1\0\3ab",
        b"\0" + bytes(8) + b"\0\1a",  # version 0
        b"\0" + b"\xff" * 8 + b"\0\1a",  # a version beyond the greatest
        b"\0" + bytes(7) + b"\1\0\1/",
        b"\0" + bytes(7) + b"\1\0\0",
        b"\0" + bytes(7) + b"\1\0\3dks",
        b"\0" + (bytes(7) + b"\1\0\1a") * 2,
    ],
)
def test_what_has_another_form_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        held(data)


@pytest.mark.parametrize("data", [b"", bytes(8), b"\xff" * 8 + b"a", bytes(8) + b"\xff", bytes(8) + b"x" * 64])
def test_a_question_for_no_router_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        notifies.find_document_wanted([NotifyPayload(PrivateNotify.DOCUMENT_WANTED, data)])
