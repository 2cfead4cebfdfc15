"""Deliberate defects at the edge: what is believed, counted or answered before an integrity check. As `mutations`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pytest import MonkeyPatch

from agents.ikev2 import sa as ike_sa
from agents.ikev2.codec.header import Header
from agents.ikev2.endpoint import IkeEndpoint
from agents.ikev2.errors import IntegrityFailure, MalformedMessage
from agents.ikev2.events import CloseReason
from agents.ikev2.exchange import Arrival, ResponseWindow
from agents.ikev2.initiator import Initiator
from agents.ikev2.model import PeerAddress
from agents.ikev2.sa import IkeSa
from tests.unit.soak.mutations import mutation, replaced

_arrival, _open_message, _open = ResponseWindow.arrival, ike_sa.open_message, IkeSa._open
_receive_protected = IkeEndpoint._receive_protected


def _arrival_that_notes(self: ResponseWindow, message_id: int) -> Arrival:
    self._begun.setdefault(message_id, b"")
    return _arrival(self, message_id)


def _repeat_for_a_header(self: ResponseWindow, message_id: int, data: bytes, peer: PeerAddress, now: float) -> Any:
    seen = self._seen.get(message_id)
    return [] if seen is None else seen.answer


def _end_for_an_error(self: Initiator, payloads: Any, now: float) -> None:
    self.sa.close(CloseReason.REFUSED, now)


def _broken_seal_is_a_broken_message(*words: Any) -> Any:
    try:
        return _open_message(*words)
    except IntegrityFailure as error:
        raise MalformedMessage(str(error)) from error


def _address_first(self: IkeSa, data: bytes, header: Header, peer: PeerAddress, now: float) -> Any:
    self.peer = replace(peer)
    return _open(self, data, header, peer, now)


def _clear_notification_counts(self: IkeEndpoint, data: bytes, header: Header, peer: PeerAddress, now: float) -> None:
    sa = self._party.by_spi.get(header.spi_r if header.from_initiator else header.spi_i)
    if header.next_payload == 41 and sa is not None and sa.is_established:
        self.check_liveness(sa.handle, now)
    _receive_protected(self, data, header, peer, now)


replaced("a window that notes a request before its check", ResponseWindow, "arrival", _arrival_that_notes)
replaced("an answer to a header alone", ResponseWindow, "retransmit", _repeat_for_a_header)
replaced("an attempt ended by a refusal in clear", Initiator, "_init_refused", _end_for_an_error)
replaced("a broken seal ends the SA", ike_sa, "open_message", _broken_seal_is_a_broken_message)
replaced("an address trusted before the check", IkeSa, "_open", _address_first)
replaced("a notification in clear is processed", IkeEndpoint, "_receive_protected", _clear_notification_counts)


@mutation("a forged answer uses up an attempt")
def _forged_answer(patch: MonkeyPatch) -> None:
    genuine = IkeSa._receive_response

    def receive(self: IkeSa, data: bytes, header: Header, peer: PeerAddress, now: float) -> None:
        waiting = self.requests.outstanding.get(header.message_id)
        if waiting is not None:
            waiting.waits += 1
        genuine(self, data, header, peer, now)

    patch.setattr(IkeSa, "_receive_response", receive)
