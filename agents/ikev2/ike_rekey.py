"""CREATE_CHILD_SA for the IKE SA itself: rekeys and simultaneous rekeys (RFC 7296 §1.3.2, §2.8, §2.25)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agents.ikev2 import key_exchange
from agents.ikev2 import keys as key_schedule
from agents.ikev2.codec.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    find,
    first_error,
    notifies,
)
from agents.ikev2.codec.transforms import Proposal, Transform
from agents.ikev2.errors import MalformedMessage
from agents.ikev2.events import CloseReason, IkeSaRekeyed
from agents.ikev2.exchange import Task
from agents.ikev2.handshake import required_nonce
from agents.ikev2.informational import DeleteIke
from agents.ikev2.lifetimes import jittered
from agents.ikev2.model import uniform
from agents.ikev2.registry import ExchangeType, NotifyType, TransformType
from agents.ikev2.registry import Protocol as Proto
from agents.ikev2.request import FailureReason
from agents.ikev2.sa import IkeSa, SaState
from agents.ikev2.suites import IkeSuite, check_answer, choose, ike_suite, proposals_from


class RekeyIke(Task):
    """Our rekey of the IKE SA."""

    exchange = ExchangeType.CREATE_CHILD_SA
    exclusive = True

    def __init__(self, sa: IkeSa, method: int | None = None) -> None:
        self._method = method
        self._ni = b""
        self._spi = b""
        self._ke: key_exchange.KeyExchange | None = None
        self._proposals: tuple[Proposal, ...] = ()
        # The peer's rekey, answered while ours was outstanding: its lowest nonce and the SA that it made.
        self._crossing: tuple[bytes, IkeSa] | None = None
        self._superseded = False
        sa.rekeying = self

    def payloads(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        if sa.state is not SaState.ESTABLISHED or sa.suite is None:
            return None
        party = sa.party
        offers = _offers(sa)
        if not offers:
            sa.rekeying = None
            return None
        self._spi = party.new_spi()
        self._proposals = proposals_from(offers, Proto.IKE, self._spi)
        self._ke = key_exchange.begin(self._method or sa.suite.ke, party.random)
        self._ni = party.random(party.config.nonce_octets)
        return [SaPayload(self._proposals), NoncePayload(self._ni), KePayload(self._ke.method, self._ke.public)]

    def crossed(self, nonce: bytes, other: IkeSa) -> None:
        self._crossing = (nonce, other)

    def superseded(self, sa: IkeSa, now: float) -> None:
        """The peer deletes the old SA, or uses its new one, while our request is unanswered: its new SA takes over."""
        sa.rekeying = None
        if self._crossing is not None and not self._superseded:
            self._superseded = True
            adopt(sa, self._crossing[1], now)

    def made(self, other: IkeSa) -> bool:
        """True if `other` is the SA of the peer's rekey that crosses ours."""
        return self._crossing is not None and self._crossing[1] is other

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        sa.rekeying = None
        if sa.state not in (SaState.ESTABLISHED, SaState.REKEYED):
            return
        answer, ke = find(payloads, SaPayload), find(payloads, KePayload)
        if answer is None:
            self._rejected(sa, payloads, now)
            return
        assert self._ke is not None and sa.suite is not None and sa.keys is not None
        chosen = check_answer(self._proposals, answer.proposals, 8)
        suite = ike_suite(chosen.transforms)
        nr = required_nonce(payloads, suite.prf)
        if ke is None or ke.method != suite.ke or ke.method != self._ke.method:
            raise MalformedMessage("key exchange methods differ")
        made = _Made(suite, self._spi, chosen.spi, self._ke.shared(ke.data), self._ni, nr)
        if suite.additional_ke:
            sa.rekeying = self
            self._follow_up(sa, made, payloads)
        else:
            self._finish(sa, made, now)

    def _follow_up(self, sa: IkeSa, made: _Made, payloads: list[Payload]) -> None:
        """The next of several key exchanges; no other request is sent before it."""
        link = notifies(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)
        if not link:
            raise MalformedMessage("no link to the next key exchange")
        sa.requests.queue.insert(0, _FollowUp(self, made, link[0].data, sa))

    def followed_up(self, sa: IkeSa, made: _Made, payloads: list[Payload], now: float) -> None:
        """One more key exchange is done, or the peer refuses to continue."""
        sa.rekeying = None
        if sa.state not in (SaState.ESTABLISHED, SaState.REKEYED):
            return
        if first_error(payloads) is not None:
            self._rejected(sa, payloads, now)
        elif made.missing:
            sa.rekeying = self
            self._follow_up(sa, made, payloads)
        else:
            self._finish(sa, made, now)

    def _finish(self, sa: IkeSa, made: _Made, now: float) -> None:
        new, nr = _successor(sa, True, made, now), made.nr
        if self._superseded or (self._crossing is not None and min(self._ni, nr) < self._crossing[0]):
            self.superseded(sa, now)  # ours has the lowest nonce and is deleted, by our Delete on it
            new.state = SaState.DELETING
            new.enqueue(DeleteIke(), now)
            return
        adopt(sa, new, now)
        sa.state = SaState.DELETING
        sa.enqueue(DeleteIke(), now)

    def _rejected(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        error = first_error(payloads)
        if error is None:
            raise MalformedMessage("neither an IKE SA nor an error")
        if self._crossing is not None:
            self.superseded(sa, now)
        elif error.type == NotifyType.INVALID_KE_PAYLOAD and len(error.data) == 2 and self._method is None:
            method = int.from_bytes(error.data, "big")
            if any(t.id == method and t.type == TransformType.KE for p in self._proposals for t in p.transforms):
                sa.enqueue(RekeyIke(sa, method), now)
        elif error.type == NotifyType.NO_PROPOSAL_CHOSEN and not sa.party.allows(sa.suite):
            sa.end(DeleteIke(), CloseReason.NO_PROPOSAL_CHOSEN, now)
        else:
            patience = 1 if error.type == NotifyType.TEMPORARY_FAILURE else 12
            # Both sides may have collided; the delay makes another collision unlikely.
            retry_s = sa.party.config.retry_s * uniform(sa.party.random, 0.5, 1.5)
            sa.rekey_at = now + patience * max(retry_s, sa.way.timeout_s or 0.0)

    def failed(self, sa: IkeSa, reason: FailureReason, now: float) -> None:
        self.superseded(sa, now)


@dataclass
class _Made:
    """The state of a rekey: the suite and the secret of each of its key exchanges so far."""

    suite: IkeSuite
    spi_i: bytes
    spi_r: bytes
    secret: bytes = field(repr=False)
    ni: bytes
    nr: bytes
    further: list[bytes] = field(default_factory=list, repr=False)

    @property
    def missing(self) -> tuple[int, ...]:
        """The methods of the remaining key exchanges."""
        return self.suite.additional_ke[len(self.further) :]


class _FollowUp(Task):
    """One additional key exchange of our rekey (RFC 9370 §2.2.4). `link`: the peer's name for the rekey."""

    exchange = ExchangeType.IKE_FOLLOWUP_KE
    exclusive = True

    def __init__(self, rekey: RekeyIke, made: _Made, link: bytes, sa: IkeSa) -> None:
        self._rekey, self._made, self._link = rekey, made, link
        self._ke = key_exchange.begin(made.missing[0], sa.party.random)

    def payloads(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        link = NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, self._link)
        return [KePayload(self._ke.method, self._ke.public), link]

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        ke = find(payloads, KePayload)
        if first_error(payloads) is None:
            if ke is None or ke.method != self._ke.method:
                raise MalformedMessage("IKE_FOLLOWUP_KE response without the KE that was asked for")
            self._made.further.append(self._ke.shared(ke.data))
        self._rekey.followed_up(sa, self._made, payloads, now)

    def failed(self, sa: IkeSa, reason: FailureReason, now: float) -> None:
        self._rekey.failed(sa, reason, now)


def _offers(sa: IkeSa) -> list[tuple[Transform, ...]]:
    """The proposals for the successor. An SA with a key wrap algorithm keeps it, and one without gets none, since the
    layer above depends on it. The key exchanges are those that both sides want now."""
    assert sa.suite is not None
    kwa = sa.suite.kwa
    return [
        tuple(item for item in offer if item.type != TransformType.KWA or item.id == kwa)
        for offer in sa.party.offers
        if any(item.type == TransformType.KWA and item.id == kwa for item in offer)
        or (kwa is None and not _wraps(offer))
    ]


def _wraps(offer: Iterable[Transform]) -> bool:
    return any(item.type == TransformType.KWA for item in offer)


def _successor(
    old: IkeSa, initiator: bool, made: _Made, now: float,
) -> IkeSa:  # fmt: skip
    """The new IKE SA: same peer and children, new keys, Message IDs from 0."""
    assert old.suite is not None and old.keys is not None
    spi_i, spi_r = made.spi_i, made.spi_r
    new = IkeSa(old.party, initiator, old.peer, spi_i, spi_r, SaState.ESTABLISHED, old.handler, now, old.handle)
    new.peer_id, new.peer_key, new.pace = old.peer_id, old.peer_key, old.pace
    new.peer_fragments = old.peer_fragments
    new.way, new.hint_s = old.way, old.hint_s
    new.established_at = now
    new.children = old.children  # one table for both: the peer may use the new SA before we know which one stays
    further = b"".join(made.further)
    keys = key_schedule.rekeyed_keys(
        old.suite.prf, old.keys.sk_d, made.suite, made.secret, made.ni, made.nr, spi_i, spi_r, further
    )
    new.set_keys(made.suite, keys)
    lifetime = old.party.config.ike_lifetime_s
    new.rekey_at = now + jittered(old, lifetime) if lifetime else None
    if not old.party.allows(made.suite):
        new.rekey_at = now  # the required key exchange has changed since the rekey began
    old.party.add(new)
    return new


def adopt(old: IkeSa, new: IkeSa, now: float) -> None:
    """`new` takes over the handle, the Child SAs and the queued requests. `old` only waits for its end."""
    party = old.party
    new.requests.queue.extend(old.requests.queue)
    old.requests.queue.clear()
    old.state = SaState.REKEYED
    old.rekey_at = None
    old.linger(now)
    old.handle.move(new)
    party.down(old)
    party.up(new)
    party.emit(IkeSaRekeyed(new.handle))
    party.schedule(old)
    new.pump(now)


def handle(sa: IkeSa, message_id: int, payloads: list[Payload], now: float) -> None:
    """Handles a peer's CREATE_CHILD_SA request with proposals for IKE."""
    exchange, party = ExchangeType.CREATE_CHILD_SA, sa.party
    request, ke = find(payloads, SaPayload), find(payloads, KePayload)
    if request is None:
        raise MalformedMessage("no proposals")
    others = any(not isinstance(item.task, RekeyIke) for item in sa.requests.outstanding.values())
    crossing = sa.rekeying if isinstance(sa.rekeying, RekeyIke) and sa.requests.outstanding else None
    if others or sa.tokens or not sa.pace.take(now):
        sa.respond(message_id, exchange, [NotifyPayload(NotifyType.TEMPORARY_FAILURE)])
        return
    chosen = choose(_offers(sa), request.proposals, Proto.IKE, 8)
    if chosen is None:
        sa.respond(message_id, exchange, [NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)])
        return
    suite = ike_suite(chosen.transforms)
    if suite.additional_ke and crossing is not None:
        # Rekeys of several exchanges do not cross: both sides wait, for different times.
        sa.respond(message_id, exchange, [NotifyPayload(NotifyType.TEMPORARY_FAILURE)])
        return
    ni = required_nonce(payloads, suite.prf)
    if ke is None or ke.method != suite.ke:
        wanted = NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, suite.ke.to_bytes(2, "big"))
        sa.respond(message_id, exchange, [wanted])
        return
    public, secret = key_exchange.answer(suite.ke, ke.data, party.random)
    nr, spi = party.random(party.config.nonce_octets), party.new_spi()
    made = _Made(suite, chosen.spi, spi, secret, ni, nr)
    reply = SaPayload((Proposal(chosen.number, chosen.protocol, spi, chosen.transforms),))
    answer: list[Payload] = [reply, NoncePayload(nr), KePayload(suite.ke, public)]
    if suite.additional_ke:
        sa.respond(message_id, exchange, [*answer, _link(sa, made)])
        return
    new = _successor(sa, False, made, now)
    sa.respond(message_id, exchange, answer)
    if crossing is not None:
        crossing.crossed(min(ni, nr), new)
    else:
        _give_way(sa, new, now)


def _give_way(sa: IkeSa, new: IkeSa, now: float) -> None:
    """The peer's rekey wins: our own, if still queued, is no longer wanted."""
    if isinstance(sa.rekeying, RekeyIke):
        if sa.rekeying in sa.requests.queue:
            sa.requests.queue.remove(sa.rekeying)
        sa.rekeying = None
    adopt(sa, new, now)


def _link(sa: IkeSa, made: _Made) -> NotifyPayload:
    """The name that the peer gives in the next key exchange of its rekey; only one rekey at a time has one."""
    link = sa.party.random(8)
    sa.follow_up = link, made
    return NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, link)


def handle_follow_up(sa: IkeSa, message_id: int, payloads: list[Payload], now: float) -> None:
    """Handles a peer's IKE_FOLLOWUP_KE request: the next key exchange of its rekey, and after the last one the new
    SA."""
    exchange = ExchangeType.IKE_FOLLOWUP_KE
    link, ke = notifies(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE), find(payloads, KePayload)
    waiting, sa.follow_up = sa.follow_up, None
    if waiting is None or not link or link[0].data != waiting[0]:
        sa.respond(message_id, exchange, [NotifyPayload(NotifyType.STATE_NOT_FOUND)])
        return
    made = waiting[1]
    assert isinstance(made, _Made)
    if ke is None or ke.method != made.missing[0]:
        raise MalformedMessage("IKE_FOLLOWUP_KE without the KE that was agreed")
    public, secret = key_exchange.answer(ke.method, ke.data, sa.party.random)
    made.further.append(secret)
    answer: list[Payload] = [KePayload(ke.method, public)]
    if made.missing:
        sa.respond(message_id, exchange, [*answer, _link(sa, made)])
        return
    new = _successor(sa, False, made, now)
    sa.respond(message_id, exchange, answer)
    _give_way(sa, new, now)
