"""The private notifications, and what a key server or a member reads of a list of payloads. First octet: which one."""

from __future__ import annotations

from collections.abc import Iterator

from agents.gikev2 import KeyServer, PrivateNotify, notifies
from agents.gikev2.member import parse_delete
from agents.ikev2 import IkeError, NotifyPayload
from agents.ikev2.codec.payloads import parse_payloads
from agents.ikev2.registry import NotifyType
from agents.policy.errors import PolicyError
from fuzz.harness import Target
from fuzz.samples import exchanged

_READERS = (
    notifies.find_policy_document, notifies.find_group_state, notifies.find_group_reports, notifies.find_reconnect_hint,
    notifies.find_policy_summary, notifies.find_revocation, notifies.find_rekey_orders, notifies.find_confirmation,
    notifies.find_group_sender, KeyServer.read, parse_delete, notifies.find_documents_held,
    notifies.find_document_wanted, notifies.find_carried_document,
)  # fmt: skip
_TYPES = (*(int(kind) for kind in PrivateNotify), int(NotifyType.GROUP_SENDER))


def run(data: bytes) -> object:
    if len(data) < 2:
        return None
    reader, what = _READERS[data[0] % len(_READERS)], data[1]
    if what >= len(_TYPES):
        return reader(parse_payloads(what, data, 2))
    return reader([NotifyPayload(_TYPES[what], data[2:])])


def seeds() -> Iterator[bytes]:
    for payload in exchanged():
        if isinstance(payload, NotifyPayload) and payload.type in _TYPES:
            index = _TYPES.index(int(payload.type))
            for number in range(len(_READERS)):
                yield bytes((number, index)) + payload.data


TARGET = Target(run, (IkeError, PolicyError), seeds)
