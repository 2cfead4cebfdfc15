"""Our private notifications and GROUP_SENDER as values, each with its one layout.

Signed objects pass through unread: the holder of the key verifies them. Raises MalformedMessage only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agents.gikev2.registry import PrivateNotify
from agents.ikev2 import MalformedMessage, NotifyPayload, Payload
from agents.ikev2.registry import NotifyType
from agents.policy import carriage
from agents.policy.errors import PolicyError
from agents.policy.names import GroupId, check_router

MAX_SENDER_IDS = 16
MAX_HELD = 160
"""The most documents that one message announces: a router's own, those that it carries, and those that were handed
over."""
MAX_VERSION = (1 << 63) - 1
_SUMMARY = struct.Struct("!QQ32s")
_HELD = struct.Struct("!QBB")
_WHOLE, _HANDED = 1, 1


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """The policy that a party has: version of its document, version and SHA-256 of its revocation list (zeros without
    one). Neighbours compare these, and the newer list is sent across."""

    version: int
    revocation: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """A document that a party can give. `handed`: an administrator handed it to a router, so it also propagates through
    routers that do not carry it otherwise."""

    router: str
    version: int
    handed: bool = False


@dataclass(frozen=True, slots=True)
class AllHeld:
    """Documents that a party can give. `whole`: all of them, and the receiver must announce its own."""

    documents: tuple[Held, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class WantedDocument:
    """Asks for the document of this router, if its version is above this one."""

    router: str
    above: int


def _all(payloads: Iterable[Payload], kind: int) -> list[bytes]:
    return [item.data for item in payloads if isinstance(item, NotifyPayload) and item.type == kind]


def _one(payloads: Iterable[Payload], kind: int) -> bytes | None:
    values = _all(payloads, kind)
    if len(values) > 1:
        raise MalformedMessage(f"notification {kind} occurs {len(values)} times")
    return values[0] if values else None


def policy_document(signed: bytes) -> NotifyPayload:
    """Carry a signed policy document."""
    return NotifyPayload(PrivateNotify.POLICY_DOCUMENT, carriage.packed(signed))


def find_policy_document(payloads: Iterable[Payload]) -> bytes | None:
    """The signed document, unverified."""
    return _document(_one(payloads, PrivateNotify.POLICY_DOCUMENT), "POLICY_DOCUMENT")


def _document(data: bytes | None, name: str) -> bytes | None:
    try:
        return None if data is None else carriage.unpacked(data)
    except PolicyError as error:
        raise MalformedMessage(f"{name}: {error}") from error


def group_state(signed: bytes) -> NotifyPayload:
    """Carry the signed state of the group whose keys are in the same message."""
    return NotifyPayload(PrivateNotify.GROUP_STATE, signed)


def find_group_state(payloads: Iterable[Payload]) -> bytes | None:
    """The signed state, unverified."""
    return _one(payloads, PrivateNotify.GROUP_STATE)


def find_group_states(payloads: Iterable[Payload]) -> list[bytes]:
    """The signed states of several groups, unverified."""
    return _all(payloads, PrivateNotify.GROUP_STATE)


def group_report(signed: bytes) -> NotifyPayload:
    """Report a state that we signed to the DKS."""
    return NotifyPayload(PrivateNotify.GROUP_REPORT, signed)


def find_group_reports(payloads: Iterable[Payload]) -> list[bytes]:
    """The reported signed states, unverified."""
    return _all(payloads, PrivateNotify.GROUP_REPORT)


def reconnect_hint(seconds: int) -> NotifyPayload:
    """Ask the receiver to stay away for this many seconds."""
    return NotifyPayload(PrivateNotify.RECONNECT_HINT, seconds.to_bytes(4, "big"))


def find_reconnect_hint(payloads: Iterable[Payload]) -> int | None:
    """Seconds to stay away."""
    return _number(_one(payloads, PrivateNotify.RECONNECT_HINT), "RECONNECT_HINT")


def policy_summary(summary: PolicySummary) -> NotifyPayload:
    """Announce which policy we have."""
    octets = _SUMMARY.pack(summary.version, summary.revocation, summary.digest)
    return NotifyPayload(PrivateNotify.POLICY_SUMMARY, octets)


def find_policy_summary(payloads: Iterable[Payload]) -> PolicySummary | None:
    """The policy that the peer announces."""
    data = _one(payloads, PrivateNotify.POLICY_SUMMARY)
    if data is None:
        return None
    if len(data) != _SUMMARY.size:
        raise MalformedMessage(f"POLICY_SUMMARY of {len(data)} octets")
    return PolicySummary(*_SUMMARY.unpack(data))


def revocation(signed: bytes) -> NotifyPayload:
    """Carry a signed revocation list."""
    return NotifyPayload(PrivateNotify.REVOCATION, signed)


def find_revocation(payloads: Iterable[Payload]) -> bytes | None:
    """The signed list, unverified."""
    return _one(payloads, PrivateNotify.REVOCATION)


def rekey_order(group: GroupId) -> NotifyPayload:
    """Order a new generation of this group."""
    return NotifyPayload(PrivateNotify.REKEY_ORDER, group.encode())


def find_rekey_orders(payloads: Iterable[Payload]) -> list[GroupId]:
    """The groups that are to get a new generation."""
    try:
        return [GroupId.decode(data) for data in _all(payloads, PrivateNotify.REKEY_ORDER)]
    except PolicyError as error:
        raise MalformedMessage(f"REKEY_ORDER: {error}") from error


def confirmation(signed: bytes) -> NotifyPayload:
    """Carry a router's confirmation to the DKS."""
    return NotifyPayload(PrivateNotify.CONFIRMATION, signed)


def find_confirmation(payloads: Iterable[Payload]) -> bytes | None:
    """The signed confirmation, unverified."""
    return _one(payloads, PrivateNotify.CONFIRMATION)


def documents_held(documents: Sequence[Held], *, whole: bool) -> NotifyPayload:
    """Announce the documents that we can give."""
    octets = bytearray((_WHOLE if whole else 0,))
    for each in documents[:MAX_HELD]:
        name = each.router.encode()
        octets += _HELD.pack(each.version, _HANDED if each.handed else 0, len(name)) + name
    return NotifyPayload(PrivateNotify.DOCUMENTS_HELD, bytes(octets))


def find_documents_held(payloads: Iterable[Payload]) -> AllHeld | None:
    """The documents that the peer announces. Unknown bits, of later versions, are ignored."""
    data = _one(payloads, PrivateNotify.DOCUMENTS_HELD)
    if data is None:
        return None
    held: dict[str, Held] = {}
    offset = 1
    while offset < len(data):
        if len(data) - offset < _HELD.size or len(held) == MAX_HELD:
            raise MalformedMessage(f"DOCUMENTS_HELD is truncated, or announces more than {MAX_HELD}")
        version, flags, length = _HELD.unpack_from(data, offset)
        offset += _HELD.size
        router = _router(data[offset : offset + length], "DOCUMENTS_HELD")
        offset += length
        if router in held or not 0 < version <= MAX_VERSION:
            raise MalformedMessage(f"DOCUMENTS_HELD announces {router} twice, or version {version}")
        held[router] = Held(router, version, bool(flags & _HANDED))
    if not data or offset > len(data):
        raise MalformedMessage("DOCUMENTS_HELD is truncated")
    return AllHeld(tuple(held.values()), bool(data[0] & _WHOLE))


def document_wanted(wanted: WantedDocument) -> NotifyPayload:
    """Ask for a document."""
    return NotifyPayload(PrivateNotify.DOCUMENT_WANTED, wanted.above.to_bytes(8, "big") + wanted.router.encode())


def asks_for_document(payloads: Iterable[Payload]) -> bool:
    """True if a DOCUMENT_WANTED is among them, readable or not."""
    return bool(_all(payloads, PrivateNotify.DOCUMENT_WANTED))


def find_document_wanted(payloads: Iterable[Payload]) -> WantedDocument | None:
    """The document that the peer asks for."""
    data = _one(payloads, PrivateNotify.DOCUMENT_WANTED)
    if data is None:
        return None
    above = int.from_bytes(data[:8], "big")
    if above > MAX_VERSION:
        raise MalformedMessage(f"DOCUMENT_WANTED above version {above}")
    return WantedDocument(_router(data[8:], "DOCUMENT_WANTED"), above)


def carried_document(signed: bytes) -> NotifyPayload:
    """Carry a signed policy document of any router."""
    return NotifyPayload(PrivateNotify.CARRIED_DOCUMENT, carriage.packed(signed))


def find_carried_document(payloads: Iterable[Payload]) -> bytes | None:
    """The signed document, unverified."""
    return _document(_one(payloads, PrivateNotify.CARRIED_DOCUMENT), "CARRIED_DOCUMENT")


def _router(octets: bytes, name: str) -> str:
    try:
        return check_router(octets.decode("ascii"))
    except (UnicodeDecodeError, PolicyError) as error:
        raise MalformedMessage(f"{name} names no router") from error


def group_sender(sender_ids: int = 1) -> NotifyPayload:
    """GROUP_SENDER (RFC 9838 §4.7.2): the member will send, and wants this many Sender-IDs."""
    return NotifyPayload(NotifyType.GROUP_SENDER, sender_ids.to_bytes(4, "big"))


def find_group_sender(payloads: Iterable[Payload]) -> int | None:
    """The number of Sender-IDs that a sender wants; None when the member will not send."""
    wanted = _number(_one(payloads, NotifyType.GROUP_SENDER), "GROUP_SENDER")
    if wanted is not None and wanted > MAX_SENDER_IDS:
        raise MalformedMessage(f"{wanted} Sender-IDs are wanted")
    return wanted


def _number(data: bytes | None, name: str) -> int | None:
    if data is None:
        return None
    if len(data) != 4:
        raise MalformedMessage(f"{name} of {len(data)} octets")
    return int.from_bytes(data, "big")
