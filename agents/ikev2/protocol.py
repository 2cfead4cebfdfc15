"""The behaviour of an established IKE SA: its answers to requests, and its own actions as time passes."""

from __future__ import annotations

from agents.ikev2 import child_exchange, ike_rekey, informational
from agents.ikev2.codec.payloads import DeletePayload, NotifyPayload, Payload, SaPayload, find
from agents.ikev2.events import CloseReason, RequestReceived
from agents.ikev2.registry import ExchangeType, NotifyType
from agents.ikev2.registry import Protocol as Proto
from agents.ikev2.sa import Handler, IkeSa, SaState

_OWN = frozenset({ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL, ExchangeType.IKE_FOLLOWUP_KE})


class Established(Handler):
    """The handler of every SA whose peer is authenticated. It has no state of its own."""

    def wants(self, sa: IkeSa, exchange: int) -> bool:
        return exchange in _OWN or exchange in sa.party.config.upper_exchanges

    def request(self, sa: IkeSa, message_id: int, exchange: int, payloads: list[Payload], now: float) -> None:
        _follow(sa, payloads, now)
        if exchange == ExchangeType.INFORMATIONAL:
            informational.handle(sa, message_id, payloads, now)
        elif sa.state is not SaState.ESTABLISHED:
            sa.respond(message_id, exchange, [NotifyPayload(NotifyType.TEMPORARY_FAILURE)])
        elif exchange == ExchangeType.CREATE_CHILD_SA:
            wanted = find(payloads, SaPayload)
            if wanted is not None and wanted.proposals[0].protocol == Proto.IKE:
                ike_rekey.handle(sa, message_id, payloads, now)
            else:
                child_exchange.handle(sa, message_id, payloads, now)
        elif exchange == ExchangeType.IKE_FOLLOWUP_KE:
            ike_rekey.handle_follow_up(sa, message_id, payloads, now)
        else:
            token = sa.party.new_token(sa, message_id, exchange)
            sa.party.emit(RequestReceived(token, sa.handle, exchange, tuple(payloads)))

    def exhausted(self, sa: IkeSa, now: float) -> None:
        sa.end(informational.DeleteIke(), CloseReason.MESSAGE_IDS_EXHAUSTED, now)

    def malformed(self, sa: IkeSa, now: float) -> None:
        # §2.21.3: tell the peer, which would otherwise keep an SA that we no longer have.
        sa.end(informational.DeleteIke(NotifyType.INVALID_SYNTAX), CloseReason.INVALID_SYNTAX, now)

    def periodic(self, sa: IkeSa, now: float) -> None:
        config = sa.party.config
        if config.liveness_s and not sa.requests.outstanding and now >= sa.last_heard + config.liveness_s:
            sa.enqueue(informational.Liveness(), now)
        if sa.rekey_at is not None and sa.rekey_at <= now and sa.rekeying is None:
            sa.rekey_at = None
            sa.enqueue(ike_rekey.RekeyIke(sa), now)
        for record in list(sa.children.values()):
            if record.rekey_at is not None and record.rekey_at <= now and record.may_rekey:
                record.rekey_at = None
                sa.enqueue(child_exchange.CreateChild(record.offer, record), now)


def _follow(sa: IkeSa, payloads: list[Payload], now: float) -> None:
    """A peer that uses the SA of its own rekey has settled on it, whatever the fate of our crossing rekey."""
    present = sa.handle.current
    if present is sa or any(isinstance(item, DeletePayload) and item.protocol == Proto.IKE for item in payloads):
        return
    if isinstance(present.rekeying, ike_rekey.RekeyIke) and present.rekeying.made(sa):
        present.rekeying.superseded(present, now)


ESTABLISHED = Established()
