"""INFORMATIONAL exchanges: liveness, Delete, notifies (RFC 7296 §1.4, §2.4)."""

from __future__ import annotations

from collections.abc import Sequence

from agents.ikev2.codec.payloads import DeletePayload, NotifyPayload, Payload
from agents.ikev2.events import ChildClosed, CloseReason, Notified, RequestReceived
from agents.ikev2.exchange import Task
from agents.ikev2.registry import FIRST_PRIVATE_STATUS_NOTIFY, ExchangeType, NotifyType, Protocol
from agents.ikev2.request import FailureReason
from agents.ikev2.sa import ChildRecord, IkeSa, SaState

_FATAL: dict[int, CloseReason] = {
    NotifyType.AUTHENTICATION_FAILED: CloseReason.AUTHENTICATION_FAILED,
    NotifyType.INVALID_SYNTAX: CloseReason.INVALID_SYNTAX,
    NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD: CloseReason.INVALID_SYNTAX,
}
"""The errors that end the IKE SA without a Delete (§2.21.2)."""


class Liveness(Task):
    """An empty request: any authentic answer proves that the peer is alive."""

    exchange = ExchangeType.INFORMATIONAL

    def payloads(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        return []

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        return


class DeleteIke(Task):
    """Deletes the IKE SA, with the error that caused it if there is one (§2.21.2)."""

    exchange = ExchangeType.INFORMATIONAL

    def __init__(self, notify: int | None = None) -> None:
        self._notify = notify

    def payloads(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        reason = [] if self._notify is None else [NotifyPayload(self._notify)]
        return [*reason, DeletePayload(Protocol.IKE)]

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        sa.close(CloseReason.DELETED_BY_US, now)


class DeleteChild(Task):
    """Deletes one Child SA; it leaves the kernel when the peer has answered."""

    exchange = ExchangeType.INFORMATIONAL

    def __init__(self, record: ChildRecord) -> None:
        self._record = record
        record.busy = self

    def payloads(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        if sa.children.get(self._record.sa.spi_in) is not self._record:
            return None
        return [DeletePayload(self._record.sa.protocol, (self._record.sa.spi_in,))]

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        remove_child(sa, self._record)

    def failed(self, sa: IkeSa, reason: FailureReason, now: float) -> None:
        return


def remove_child(sa: IkeSa, record: ChildRecord) -> None:
    """Forget a Child SA and report it, once."""
    if sa.children.get(record.sa.spi_in) is record:
        del sa.children[record.sa.spi_in]
        sa.party.emit(ChildClosed(sa.handle, record.sa))


def handle(sa: IkeSa, message_id: int, payloads: list[Payload], now: float) -> None:
    """Handles a peer's INFORMATIONAL request."""
    deletes = [item for item in payloads if isinstance(item, DeletePayload)]
    exchange = ExchangeType.INFORMATIONAL
    failed = next((p for p in payloads if isinstance(p, NotifyPayload) and p.type in _FATAL), None)
    if failed is not None or any(item.protocol == Protocol.IKE for item in deletes):
        sa.respond(message_id, exchange, [])
        if sa.rekeying is not None:
            sa.rekeying.superseded(sa, now)
        if failed is None:
            sa.close(CloseReason.DELETED_BY_PEER, now)
        else:
            sa.close(_FATAL[failed.type], now, failed.type)
        return
    rest = [item for item in payloads if not isinstance(item, DeletePayload)]
    private = any(isinstance(p, NotifyPayload) and p.type >= FIRST_PRIVATE_STATUS_NOTIFY for p in rest)
    if private and not deletes and exchange in sa.party.config.upper_exchanges and sa.state is SaState.ESTABLISHED:
        token = sa.party.new_token(sa, message_id, exchange)
        sa.party.emit(RequestReceived(token, sa.handle, exchange, tuple(payloads)))
        return
    sa.respond(message_id, exchange, _delete_children(sa, deletes))
    if rest:
        sa.party.emit(Notified(sa.handle, tuple(rest)))


def _delete_children(sa: IkeSa, deletes: list[DeletePayload]) -> list[Payload]:
    """Drop the SAs that the peer deleted; name our halves, except those with a crossing Delete of ours (§1.4.1)."""
    ours: dict[int, list[bytes]] = {}
    for item in deletes:
        for spi in item.spis:
            for record in list(sa.children.values()):
                if record.sa.protocol == item.protocol and record.sa.spi_out == spi:
                    if not isinstance(record.busy, DeleteChild):
                        ours.setdefault(item.protocol, []).append(record.sa.spi_in)
                    remove_child(sa, record)
    return [DeletePayload(protocol, tuple(spis)) for protocol, spis in ours.items()]
