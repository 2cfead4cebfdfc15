"""Notifications with structured data: our private ones, and GROUP_SENDER. Others are shown as octets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.decode.names import FIRST_PRIVATE_NOTIFY, json_value, notify_type, text_or_hex
from agents.gikev2 import notifies
from agents.gikev2.registry import PrivateNotify
from agents.ikev2 import MalformedMessage, NotifyPayload
from agents.ikev2.registry import NotifyType
from agents.policy import carriage, cbor, cose
from agents.policy.errors import PolicyError

Fields = dict[str, Any]


def _signed(data: bytes) -> Fields:
    """The content of a COSE_Sign1 object. The signature is not verified."""
    return {"signed_octets": len(data), "says": json_value(cbor.decode(cose.unverified_payload(data)))}


def _summary(data: bytes) -> Fields:
    summary = notifies.find_policy_summary([NotifyPayload(PrivateNotify.POLICY_SUMMARY, data)])
    assert summary is not None
    return {
        "policy_version": summary.version,
        "revocation_version": summary.revocation,
        "revocation_list_sha256": summary.digest.hex(),
    }


def _number(key: str) -> Callable[[bytes], Fields]:
    def read(data: bytes) -> Fields:
        if len(data) != 4:
            raise MalformedMessage(f"{len(data)} octets, not 4")
        return {key: int.from_bytes(data, "big")}

    return read


def _held(data: bytes) -> Fields:
    payload = notifies.find_documents_held([NotifyPayload(PrivateNotify.DOCUMENTS_HELD, data)])
    assert payload is not None
    documents = [{"router": each.router, "version": each.version, "handed": each.handed} for each in payload.documents]
    return {"whole": payload.whole, "documents": documents}


def _wanted(data: bytes) -> Fields:
    payload = notifies.find_document_wanted([NotifyPayload(PrivateNotify.DOCUMENT_WANTED, data)])
    assert payload is not None
    return {"router": payload.router, "above_version": payload.above}


_READERS: dict[int, Callable[[bytes], Fields]] = {
    PrivateNotify.POLICY_DOCUMENT: lambda data: _signed(carriage.unpacked(data)),
    PrivateNotify.GROUP_STATE: _signed,
    PrivateNotify.GROUP_REPORT: _signed,
    PrivateNotify.REVOCATION: _signed,
    PrivateNotify.RECONNECT_HINT: _number("seconds"),
    PrivateNotify.POLICY_SUMMARY: _summary,
    PrivateNotify.DOCUMENTS_HELD: _held,
    PrivateNotify.DOCUMENT_WANTED: _wanted,
    PrivateNotify.CARRIED_DOCUMENT: lambda data: _signed(carriage.unpacked(data)),
    PrivateNotify.REKEY_ORDER: lambda data: {"group": text_or_hex(data)},
    NotifyType.GROUP_SENDER: _number("sender_ids"),
    NotifyType.SET_WINDOW_SIZE: _number("window"),
}


def fields(kind: int, data: bytes) -> Fields:
    """The content of a notification's data; `malformed` when it does not have its form."""
    reader = _READERS.get(kind)
    if reader is None:
        return _unknown(kind, data)
    try:
        return reader(data)
    except (MalformedMessage, PolicyError) as error:
        return {"malformed": str(error), "octets": data.hex()}


def _unknown(kind: int, data: bytes) -> Fields:
    if not data:
        return {}
    if kind >= FIRST_PRIVATE_NOTIFY:  # of a later version: signed objects have one form
        try:
            return _signed(data)
        except PolicyError:
            pass
    return {"octets": data.hex()}


def title(kind: int) -> str:
    """The notification's name."""
    return notify_type(kind)
