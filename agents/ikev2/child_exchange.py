"""CREATE_CHILD_SA for Child SAs: new ones, rekeys, and simultaneous rekeys of both sides (RFC 7296 §1.3, §2.8.1)."""

from __future__ import annotations

from collections.abc import Sequence

from agents.ikev2.child import ChildOffer, ChildSa
from agents.ikev2.child_negotiation import ChildRefused, ChildRequest, answer_child
from agents.ikev2.codec.payloads import NoncePayload, NotifyPayload, Payload, notifies
from agents.ikev2.errors import MalformedMessage, UnsupportedAlgorithm
from agents.ikev2.events import ChildFailed
from agents.ikev2.exchange import Task
from agents.ikev2.handshake import required_nonce
from agents.ikev2.informational import DeleteChild, remove_child
from agents.ikev2.registry import ExchangeType, NotifyType
from agents.ikev2.request import FailureReason
from agents.ikev2.sa import ChildRecord, IkeSa, SaState

_MAX_GROUP_ROUNDS = 2


class CreateChild(Task):
    """Makes a Child SA; with `replaces`, as its rekey."""

    exchange = ExchangeType.CREATE_CHILD_SA

    def __init__(
        self, offer: ChildOffer, replaces: ChildRecord | None = None, method: int | None = None, rounds: int = 0
    ) -> None:
        self._offer = offer
        self._replaces = replaces
        self._method = method
        self._rounds = rounds
        self._ni = b""
        self._known = True
        self._request: ChildRequest | None = None
        # The peer's rekey of the same Child SA, answered while ours was outstanding.
        self._crossing: tuple[bytes, ChildSa] | None = None
        if replaces is not None:
            replaces.busy = self

    def payloads(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        old = self._replaces
        if old is not None and (old.replaced or sa.children.get(old.sa.spi_in) is not old):
            old.busy = None
            return None
        self._known = old is None or old.known_to_peer(sa)
        self._ni = sa.party.random(sa.party.config.nonce_octets)
        request = self._request = ChildRequest(
            sa, self._offer, with_ke=True, replaces=None if old is None else old.sa, method=self._method
        )
        rekey: list[Payload] = []
        if old is not None:
            rekey.append(NotifyPayload(NotifyType.REKEY_SA, b"", old.sa.protocol, old.sa.spi_in))
        return [*rekey, *request.head(), NoncePayload(self._ni), *request.tail()]

    def crossed(self, nonce: bytes, child: ChildSa) -> None:
        """The peer rekeys the same SA: record the lowest nonce of its exchange and the Child SA that it made."""
        self._crossing = (nonce, child)

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        assert self._request is not None
        old = self._replaces
        if old is not None:
            old.busy = None
        if sa.state is not SaState.ESTABLISHED:
            return
        try:
            nr = required_nonce(payloads) if not _refused(payloads) else b""
            child = self._request.complete(payloads, self._ni, nr, now)
        except ChildRefused as refusal:
            self._rejected(sa, refusal, now)
            return
        if old is None:
            return
        if self._crossing is not None and min(self._ni, nr) < self._crossing[0]:
            sa.enqueue(DeleteChild(sa.children[child.spi_in]), now)  # ours has the lowest nonce and is deleted
        elif sa.children.get(old.sa.spi_in) is old:
            sa.enqueue(DeleteChild(old), now)

    def _rejected(self, sa: IkeSa, refusal: ChildRefused, now: float) -> None:
        old, party = self._replaces, sa.party
        if refusal.notify == NotifyType.INVALID_KE_PAYLOAD and len(refusal.data) == 2:
            method = int.from_bytes(refusal.data, "big")
            if self._rounds < _MAX_GROUP_ROUNDS:
                sa.enqueue(CreateChild(self._offer, old, method, self._rounds + 1), now)
                return
        if old is not None and refusal.notify == NotifyType.TEMPORARY_FAILURE:
            if self._crossing is None:
                old.rekey_at = now + party.config.retry_s
            return
        if old is not None and refusal.notify == NotifyType.CHILD_SA_NOT_FOUND:
            if not self._known:
                old.rekey_at = now + party.config.retry_s
                return
            # §2.25: the peer has no such SA. A Delete that crossed our request explains that.
            known = sa.children.get(old.sa.spi_in) is old
            remove_child(sa, old)
            if known and self._crossing is None:
                sa.enqueue(CreateChild(self._offer), now)
            return
        party.emit(ChildFailed(sa.handle, refusal.notify))

    def failed(self, sa: IkeSa, reason: FailureReason, now: float) -> None:
        party = sa.party
        if self._replaces is None:
            party.emit(ChildFailed(sa.handle, None))


def _refused(payloads: list[Payload]) -> bool:
    return any(isinstance(item, NotifyPayload) and item.is_error for item in payloads)


def handle(sa: IkeSa, message_id: int, payloads: list[Payload], now: float) -> None:
    """Handles a peer's CREATE_CHILD_SA request for a Child SA."""
    exchange = ExchangeType.CREATE_CHILD_SA
    try:
        rekey = notifies(payloads, NotifyType.REKEY_SA)
        old = _named(sa, rekey[0]) if rekey else None
        ni = required_nonce(payloads)
        nr = sa.party.random(sa.party.config.nonce_octets)
        head, tail, event = answer_child(sa, payloads, ni, nr, now, with_ke=True, replaces=old)
    except ChildRefused as refusal:
        sa.respond(message_id, exchange, [refusal.payload()])
        return
    except UnsupportedAlgorithm:
        sa.respond(message_id, exchange, [NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)])
        return
    sa.respond(message_id, exchange, [*head, NoncePayload(nr), *tail])
    sa.children[event.child.spi_in].answered = sa, message_id
    if old is not None:
        if isinstance(old.busy, CreateChild):
            old.busy.crossed(min(ni, nr), event.child)
        else:
            old.replaced = True  # the peer will delete it
    sa.party.emit(event)


def _named(sa: IkeSa, notify: NotifyPayload) -> ChildRecord:
    """The Child SA that a REKEY_SA names by the peer's inbound SPI."""
    if len(notify.spi) != 4:
        raise MalformedMessage("REKEY_SA without an SPI")
    for record in sa.children.values():
        if record.sa.protocol == notify.protocol and record.sa.spi_out == notify.spi:
            if isinstance(record.busy, DeleteChild):
                raise ChildRefused(NotifyType.TEMPORARY_FAILURE)
            return record
    raise _NotFound(notify)


class _NotFound(ChildRefused):
    """CHILD_SA_NOT_FOUND, with the protocol and SPI of the request (§2.25)."""

    def __init__(self, notify: NotifyPayload) -> None:
        super().__init__(NotifyType.CHILD_SA_NOT_FOUND)
        self._about = notify

    def payload(self) -> NotifyPayload:
        return NotifyPayload(self.notify, b"", self._about.protocol, self._about.spi)
