"""Negotiation of a Child SA: proposals, traffic selectors, mode and keys (RFC 7296 §2.9, §2.17, §3.13).

Used by the AUTH exchange and by CREATE_CHILD_SA; knows nothing of how these exchanges proceed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agents.ikev2 import key_exchange
from agents.ikev2 import keys as key_schedule
from agents.ikev2.child import ChildOffer, ChildSa
from agents.ikev2.codec.payloads import (
    KePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    TrafficSelector,
    TsPayload,
    find,
    first_error,
    notifies,
)
from agents.ikev2.codec.transforms import Proposal, Transform
from agents.ikev2.errors import IkeError, MalformedMessage, UnsupportedAlgorithm
from agents.ikev2.events import ChildEstablished
from agents.ikev2.lifetimes import jittered
from agents.ikev2.protect import INTEGRITY
from agents.ikev2.registry import Encr, Integ, NotifyType, PayloadType, TransformType
from agents.ikev2.sa import ChildRecord, IkeSa
from agents.ikev2.suites import check_answer, choose, proposals_from

_MAX_SELECTORS = 64


class ChildRefused(IkeError):
    """The Child SA is refused, with the notify that says so."""

    def __init__(self, notify: int, data: bytes = b"") -> None:
        super().__init__(f"Child SA refused: notify {notify}")
        self.notify = notify
        self.data = data

    def payload(self) -> NotifyPayload:
        return NotifyPayload(self.notify, self.data)


def key_lengths(transforms: Sequence[Transform]) -> tuple[int, int]:
    """Octets of encryption key (with salt) and of integrity key that ESP or AH needs."""
    encryption = integrity = 0
    for item in transforms:
        bits = item.key_bits
        if item.type == TransformType.ENCR:
            if item.id in (Encr.AES_GCM_16, Encr.NULL_AUTH_AES_GMAC) and bits in (128, 192, 256):
                encryption = bits // 8 + 4
            elif item.id == Encr.AES_CBC and bits in (128, 192, 256):
                encryption = bits // 8
            elif item.id == Encr.CHACHA20_POLY1305:
                encryption = 36
            elif item.id != Encr.NULL:
                raise UnsupportedAlgorithm(f"ESP encryption {item.id} with {bits} bits")
        elif item.type == TransformType.INTEG and item.id != Integ.NONE:
            if item.id not in INTEGRITY:
                raise UnsupportedAlgorithm(f"ESP integrity {item.id}")
            integrity = INTEGRITY[Integ(item.id)][1]
    return encryption, integrity


def intersect(one: TrafficSelector, other: TrafficSelector) -> TrafficSelector | None:
    """The intersection of two selectors, or None."""
    if one.first.version != other.first.version:
        return None
    if one.protocol and other.protocol and one.protocol != other.protocol:
        return None
    first = one.first if int(one.first) >= int(other.first) else other.first
    last = one.last if int(one.last) <= int(other.last) else other.last
    start, end = max(one.start_port, other.start_port), min(one.end_port, other.end_port)
    if int(first) > int(last) or start > end:
        return None
    return TrafficSelector(first, last, one.protocol or other.protocol, start, end)


def narrow(ours: Iterable[TrafficSelector], theirs: Iterable[TrafficSelector]) -> tuple[TrafficSelector, ...]:
    """The intersection of two lists of selectors, without duplicates (§2.9)."""
    wanted = tuple(theirs)
    narrowed: dict[TrafficSelector, None] = {}
    for one in ours:
        for other in wanted:
            both = intersect(one, other)
            if both is not None and len(narrowed) < _MAX_SELECTORS:
                narrowed[both] = None
    return tuple(narrowed)


def _covers(ours: Iterable[TrafficSelector], answered: Iterable[TrafficSelector]) -> bool:
    mine = tuple(ours)
    return all(any(intersect(one, item) == item for one in mine) for item in answered)


def without_ke(transforms: Iterable[Transform]) -> tuple[Transform, ...]:
    return tuple(item for item in transforms if item.type != TransformType.KE)


def _selectors(payloads: Iterable[Payload], kind: int) -> tuple[TrafficSelector, ...]:
    payload = find(payloads, TsPayload, kind)
    if payload is None:
        raise MalformedMessage("traffic selectors are missing")
    return payload.selectors


def _record(sa: IkeSa, child: ChildSa, offer: ChildOffer, now: float) -> None:
    lifetime = sa.party.config.child_lifetime_s
    rekey_at = now + jittered(sa, lifetime) if lifetime else None
    sa.children[child.spi_in] = ChildRecord(child, offer, rekey_at)


class ChildRequest:
    """One Child SA that we request. `with_ke`: CREATE_CHILD_SA may make a fresh Diffie-Hellman exchange."""

    def __init__(
        self, sa: IkeSa, offer: ChildOffer, *, with_ke: bool, replaces: ChildSa | None = None, method: int | None = None
    ) -> None:
        self.sa = sa
        self.offer = offer
        self.replaces = replaces
        # A requested SPI is for the first SA; its successors get their own.
        self.spi = offer.spi if offer.spi is not None and replaces is None else _new_spi(sa)
        offers = offer.offers if with_ke else tuple(without_ke(item) for item in offer.offers)
        self.proposals = proposals_from(offers, offer.protocol, self.spi)
        methods = [t.id for p in self.proposals for t in p.transforms if t.type == TransformType.KE and t.id]
        chosen = method if method in methods else (methods[0] if methods else None)
        self.ke = key_exchange.begin(chosen, sa.party.random) if chosen is not None else None

    def head(self) -> list[Payload]:
        """The payloads USE_TRANSPORT_MODE and SA."""
        mode: list[Payload] = [NotifyPayload(NotifyType.USE_TRANSPORT_MODE)] if self.offer.transport else []
        return [*mode, SaPayload(self.proposals)]

    def tail(self) -> list[Payload]:
        """The payloads KE, TSi and TSr."""
        ke: list[Payload] = [] if self.ke is None else [KePayload(self.ke.method, self.ke.public)]
        return [*ke, TsPayload(PayloadType.TSi, self.offer.local), TsPayload(PayloadType.TSr, self.offer.remote)]

    def payloads(self) -> list[Payload]:
        return self.head() + self.tail()

    def complete(self, payloads: list[Payload], ni: bytes, nr: bytes, now: float) -> ChildSa:
        """Read the answer and emit the Child SA. ChildRefused when the peer or we refuse it."""
        sa, answer = self.sa, find(payloads, SaPayload)
        if answer is None:
            error = first_error(payloads)
            if error is None:
                raise MalformedMessage("neither a Child SA nor an error")
            raise ChildRefused(error.type, error.data)
        chosen = check_answer(self.proposals, answer.proposals, 4)
        local, remote = _selectors(payloads, PayloadType.TSi), _selectors(payloads, PayloadType.TSr)
        transport = bool(notifies(payloads, NotifyType.USE_TRANSPORT_MODE))
        if not local or not remote or not (_covers(self.offer.local, local) and _covers(self.offer.remote, remote)):
            raise MalformedMessage("peer widened the traffic selectors, or named none that we know")
        if _is_reserved(chosen.spi):
            raise MalformedMessage(f"SPI {chosen.spi.hex()} is reserved")
        if transport and not self.offer.transport:
            raise MalformedMessage("peer answered transport mode, which was not asked for")
        encryption, integrity = key_lengths(chosen.transforms)
        method = next((t.id for t in chosen.transforms if t.type == TransformType.KE and t.id), None)
        secret = b""
        if method is not None:
            ke = find(payloads, KePayload)
            if ke is None or self.ke is None or ke.method != method or self.ke.method != method:
                raise MalformedMessage("key exchange method of the Child SA differs")
            secret = self.ke.shared(ke.data)
        assert sa.suite is not None and sa.keys is not None
        ours, theirs = key_schedule.child_keys(sa.suite.prf, sa.keys.sk_d, secret, ni, nr, encryption, integrity)
        child = ChildSa(
            self.offer.protocol, self.spi, chosen.spi, chosen.transforms, transport, local, remote, True, theirs, ours
        )
        _record(sa, child, self.offer, now)
        sa.party.emit(ChildEstablished(sa.handle, child, self.replaces))
        return child


def _new_spi(sa: IkeSa) -> bytes:
    while True:
        spi = sa.party.random(4)
        if not _is_reserved(spi) and spi not in sa.children:
            return spi


def _is_reserved(spi: bytes) -> bool:
    """True for SPIs 0 to 255, which name no SA (RFC 4303 §2.1)."""
    return int.from_bytes(spi, "big") < 256


def answer_child(
    sa: IkeSa, payloads: list[Payload], ni: bytes, nr: bytes, now: float, *, with_ke: bool,
    replaces: ChildRecord | None = None,
) -> tuple[list[Payload], list[Payload], ChildEstablished]:  # fmt: skip
    """Our answer to a wanted Child SA: the payloads before the nonce, those after it, and the event.

    Raises ChildRefused with the notify to answer instead.
    """
    request = find(payloads, SaPayload)
    if request is None:
        raise MalformedMessage("no proposals for a Child SA")
    if len(sa.children) >= sa.party.config.max_children or not sa.pace.take(now):
        raise ChildRefused(NotifyType.NO_ADDITIONAL_SAS)
    theirs, ours = _selectors(payloads, PayloadType.TSi), _selectors(payloads, PayloadType.TSr)
    offer = replaces.offer if replaces is not None else _ask_policy(sa, ours, theirs)
    proposals: Sequence[Proposal] = request.proposals
    offers = offer.offers
    if not with_ke:
        proposals = [Proposal(p.number, p.protocol, p.spi, without_ke(p.transforms)) for p in proposals]
        offers = tuple(without_ke(item) for item in offers)
    chosen = choose(offers, proposals, offer.protocol, 4)
    asked = bool(notifies(payloads, NotifyType.USE_TRANSPORT_MODE))
    if chosen is None or _is_reserved(chosen.spi) or (offer.transport and not asked):
        raise ChildRefused(NotifyType.NO_PROPOSAL_CHOSEN)
    local, remote = narrow(offer.local, ours), narrow(offer.remote, theirs)
    if not local or not remote:
        raise ChildRefused(NotifyType.TS_UNACCEPTABLE)
    public, secret = _answer_ke(sa, chosen, payloads)
    encryption, integrity = key_lengths(chosen.transforms)
    assert sa.suite is not None and sa.keys is not None
    incoming, outgoing = key_schedule.child_keys(sa.suite.prf, sa.keys.sk_d, secret, ni, nr, encryption, integrity)
    spi = offer.spi if offer.spi is not None and replaces is None else _new_spi(sa)
    child = ChildSa(
        offer.protocol, spi, chosen.spi, chosen.transforms, offer.transport, local, remote, False, incoming, outgoing
    )
    _record(sa, child, offer, now)
    mode: list[Payload] = [NotifyPayload(NotifyType.USE_TRANSPORT_MODE)] if offer.transport else []
    head = [*mode, SaPayload((Proposal(chosen.number, chosen.protocol, spi, chosen.transforms),))]
    tail: list[Payload] = [*public, TsPayload(PayloadType.TSi, remote), TsPayload(PayloadType.TSr, local)]
    return head, tail, ChildEstablished(sa.handle, child, None if replaces is None else replaces.sa)


def _ask_policy(sa: IkeSa, ours: tuple[TrafficSelector, ...], theirs: tuple[TrafficSelector, ...]) -> ChildOffer:
    if sa.party.child_policy is None:
        raise ChildRefused(NotifyType.NO_ADDITIONAL_SAS)
    assert sa.peer_id is not None
    offer = sa.party.child_policy(sa.peer_id, sa.peer, ours, theirs)
    if offer is None:
        raise ChildRefused(NotifyType.TS_UNACCEPTABLE)
    return offer


def _answer_ke(sa: IkeSa, chosen: Proposal, payloads: list[Payload]) -> tuple[list[Payload], bytes]:
    method = next((t.id for t in chosen.transforms if t.type == TransformType.KE and t.id), None)
    if method is None:
        return [], b""
    ke = find(payloads, KePayload)
    if ke is None or ke.method != method:
        raise ChildRefused(NotifyType.INVALID_KE_PAYLOAD, method.to_bytes(2, "big"))
    public, secret = key_exchange.answer(method, ke.data, sa.party.random)
    return [KePayload(method, public)], secret
