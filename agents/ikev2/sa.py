"""One IKE SA: its keys, its windows, and the path of a protected message in and out.

Knows how messages are protected and retransmitted. Their meaning belongs to the handshakes (initiator, responder), to
child_exchange and to informational.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

from agents.ikev2 import keys as key_schedule
from agents.ikev2.codec.header import Header
from agents.ikev2.codec.payloads import (
    Identification,
    NotifyPayload,
    Payload,
    encode_payloads,
    notifies,
    parse_payloads,
)
from agents.ikev2.errors import IkeError, IntegrityFailure, MalformedMessage, UnsupportedCriticalPayload
from agents.ikev2.events import Closed, CloseReason, Faulted, KeysDerived, MessageSeen, Send
from agents.ikev2.exchange import Arrival, RequestWindow, ResponseWindow, Task
from agents.ikev2.fragments import Reassembler
from agents.ikev2.handle import SaHandle
from agents.ikev2.keylog import KeyWrapEntry, decryption_table_line
from agents.ikev2.keys import IkeKeys
from agents.ikev2.model import PeerAddress, PeerKey
from agents.ikev2.protect import Opened, Protection, open_message, seal_fragments, seal_message
from agents.ikev2.registry import Flag, NotifyType, exchange_name
from agents.ikev2.request import FailureReason
from agents.ikev2.round_trip import RoundTrip, Timing
from agents.ikev2.suites import IkeSuite
from agents.runtime.pace import TokenBucket

if TYPE_CHECKING:
    from agents.ikev2.child import ChildOffer, ChildSa
    from agents.ikev2.party import Party


class SaState(Enum):
    """The state of an IKE SA."""

    INIT_SENT = "IKE_SA_INIT sent"
    INTERMEDIATE_SENT = "IKE_INTERMEDIATE sent"
    AUTH_SENT = "AUTH sent"
    HALF_OPEN = "IKE_SA_INIT answered"
    AUTH_DECIDING = "AUTH received"
    ESTABLISHED = "established"
    REKEYED = "rekeyed"
    DELETING = "delete sent"
    CLOSED = "closed"


def _kind(header: Header) -> str:
    """What a datagram claims to be."""
    return f"{exchange_name(header.exchange)} {'response' if header.is_response else 'request'}"


class Handler:
    """The handler of the requests that an SA receives: first a handshake, then `Protocol`."""

    def request(self, sa: IkeSa, message_id: int, exchange: int, payloads: list[Payload], now: float) -> None:
        raise NotImplementedError

    def wants(self, sa: IkeSa, exchange: int) -> bool:
        """True if a protected request of this exchange type is acceptable now."""
        return False

    def untried(self, sa: IkeSa) -> Protection | None:
        """The protection of the peer's messages, for an SA that has no keys until it has opened the first of them."""
        return None

    def proven(self, sa: IkeSa) -> None:
        """A message was opened with the result of `untried`: install its keys."""

    def sealed_request(self, sa: IkeSa, header: Header, opened: Opened) -> None:
        """Called with each authenticated request before it is parsed (IntAuth of RFC 9242)."""

    def periodic(self, sa: IkeSa, now: float) -> None:
        """The own actions of an established SA: liveness, lifetimes."""

    def meant(self, sa: IkeSa, peer_spi: bytes) -> Sequence[IkeSa]:
        """The SAs that a datagram with our SPI of `sa` and this SPI of the peer may be for."""
        return (sa,) if sa.peer_spi == peer_spi else ()

    def poked(self, sa: IkeSa) -> Sequence[IkeSa]:
        """The SAs whose requests are retransmitted when the layer above asks for it."""
        return (sa,)

    def unanswered(self, sa: IkeSa, now: float) -> None:
        """A request has been given up."""
        sa.close(CloseReason.TIMEOUT, now)

    def expired(self, sa: IkeSa, now: float) -> None:
        """The time of the handshake is over."""
        sa.close(CloseReason.HALF_OPEN_TIMEOUT, now)
        sa.party.forget(sa)

    def closed(self, sa: IkeSa, reason: CloseReason, notify: int | None, now: float) -> None:
        """The SA is gone, or about to be."""

    def exhausted(self, sa: IkeSa, now: float) -> None:
        """No Message ID is left for another request, or the peer has none."""
        sa.close(CloseReason.MESSAGE_IDS_EXHAUSTED, now)

    def malformed(self, sa: IkeSa, now: float) -> None:
        """An authentic answer of the peer is meaningless."""
        sa.close(CloseReason.INVALID_SYNTAX, now)


class _Orphan(Task):
    """A request whose answer is no longer needed."""

    def __init__(self, exchange: int) -> None:
        self.exchange = exchange

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        return


class ChildRecord:
    """An established Child SA, and the SA that we would agree to in its rekey."""

    __slots__ = ("answered", "busy", "offer", "rekey_at", "replaced", "sa")

    def __init__(self, sa: ChildSa, offer: ChildOffer, rekey_at: float | None) -> None:
        self.sa = sa
        self.offer = offer
        self.rekey_at = rekey_at
        self.busy: Task | None = None  # our own rekey or delete of it
        self.answered: tuple[IkeSa, int] | None = None  # the peer's request that made it
        self.replaced = False  # the peer has rekeyed it and will delete it

    @property
    def may_rekey(self) -> bool:
        return self.busy is None and not self.replaced

    def known_to_peer(self, sa: IkeSa) -> bool:
        """True if the peer certainly has our answer that made it; otherwise it may say that it does not know it."""
        return self.answered is None or self.answered[0] is not sa or sa.responses.answer_is_known(self.answered[1])


class IkeSa:
    """The state of one IKE SA. All times are the driver's seconds."""

    __slots__ = (
        "__weakref__",
        "_fragments",
        "_in",
        "_out",
        "_touched",
        "children",
        "created_at",
        "established_at",
        "expires_at",
        "follow_up",
        "half_open_peer",
        "handle",
        "handler",
        "hint_s",
        "init_digest",
        "initiator",
        "keys",
        "last_heard",
        "pace",
        "party",
        "peer",
        "peer_fragments",
        "peer_id",
        "peer_key",
        "rekey_at",
        "rekeying",
        "requests",
        "responses",
        "scheduled",
        "spi_i",
        "spi_r",
        "state",
        "suite",
        "tokens",
        "way",
    )  # fmt: skip

    def __init__(
        self, party: Party, initiator: bool, peer: PeerAddress, spi_i: bytes, spi_r: bytes, state: SaState,
        handler: Handler, now: float, handle: SaHandle | None = None,
    ) -> None:  # fmt: skip
        self.party = party
        self.initiator = initiator
        self.peer = peer
        self.spi_i = spi_i
        self.spi_r = spi_r
        self.state = state
        self.handler = handler
        self.created_at = now
        self.last_heard = now
        self.handle = SaHandle(party.number(), self) if handle is None else handle
        self.peer_id: Identification | None = None
        self.peer_key: PeerKey | None = None  # that proved it
        self.pace = TokenBucket(1 / party.config.creation_every_s, party.config.creations)
        self.suite: IkeSuite | None = None
        self.keys: IkeKeys | None = None
        self.requests = RequestWindow()
        self.responses = ResponseWindow(size=party.config.window)
        self.established_at: float | None = None
        self.expires_at: float | None = None
        self.rekey_at: float | None = None
        self.children: dict[bytes, ChildRecord] = {}
        self.init_digest: bytes | None = None
        self.tokens: set[int] = set()
        self.scheduled: float | None = None
        self.peer_fragments = False
        self.half_open_peer: PeerAddress | None = None
        self.rekeying: Task | None = None
        self.follow_up: tuple[bytes, object] | None = None  # of the peer's rekey, between its key exchanges
        self.hint_s: float | None = None  # the longest time that the first answer of the handshake can have taken
        self.way = RoundTrip()  # the peer's own, once its identity is known
        self._out: Protection | None = None
        self._touched = False  # by the authentic datagram that is being handled
        self._in: Protection | None = None
        self._fragments: Reassembler | None = None

    # -- what it is ------------------------------------------------------------------------------

    @property
    def our_spi(self) -> bytes:
        return self.spi_i if self.initiator else self.spi_r

    @property
    def peer_spi(self) -> bytes:
        return self.spi_r if self.initiator else self.spi_i

    @property
    def is_established(self) -> bool:
        return self.state in (SaState.ESTABLISHED, SaState.REKEYED)

    def set_keys(self, suite: IkeSuite, keys: IkeKeys) -> None:
        """Use these keys from now on, in both directions."""
        random = self.party.random
        self.suite, self.keys = suite, keys
        ours = suite.protection(keys.sk_ei, keys.sk_ai, random)
        theirs = suite.protection(keys.sk_er, keys.sk_ar, random)
        self._out, self._in = (ours, theirs) if self.initiator else (theirs, ours)
        if self.party.config.log_keys:
            wrap = None if suite.kwa is None else KeyWrapEntry(self.spi_i, self.spi_r, self.key_wrap_key()).line()
            self.party.emit(KeysDerived(decryption_table_line(self.spi_i, self.spi_r, suite, keys), wrap))

    def timing(self) -> Timing:
        """The present times of retransmission of requests over this SA."""
        usual = self.party.config.retransmission
        if self.established_at is not None:
            return self.way.timing(usual, self.hint_s or 0.0)
        return self.way.handshake(usual, self.hint_s)

    def derive(self, label: bytes, length: int) -> bytes:
        assert self.suite is not None and self.keys is not None
        return self.suite.prf.plus(self.keys.sk_d, label, length)

    def key_wrap_key(self) -> bytes:
        assert self.suite is not None and self.keys is not None
        return key_schedule.key_wrap_key(self.suite, self.keys.sk_d)

    # -- out -------------------------------------------------------------------------------------

    def send(self, datagrams: Sequence[bytes], retransmission: bool = False, to: PeerAddress | None = None) -> None:
        for data in datagrams:
            self.party.emit(Send(data, to or self.peer, retransmission))

    def _header(self, exchange: int, message_id: int, response: bool) -> Header:
        flags = (Flag.INITIATOR if self.initiator else 0) | (Flag.RESPONSE if response else 0)
        return Header(self.spi_i, self.spi_r, 0, exchange, int(flags), message_id)

    def seal(self, exchange: int, message_id: int, response: bool, payloads: Sequence[Payload]) -> list[bytes]:
        """The datagrams of one protected message; fragmented only when the peer understands it. MessageTooLong."""
        assert self._out is not None
        first, inner = encode_payloads(payloads)
        header = self._header(exchange, message_id, response)
        config = self.party.config
        if self.peer_fragments:
            return seal_fragments(header, first, inner, self._out, config.max_datagram, config.max_fragments)
        return [seal_message(header, first, inner, self._out)]

    def enqueue(self, task: Task, now: float) -> None:
        self.requests.queue.append(task)
        self.pump(now)

    def pump(self, now: float) -> None:
        """Send the requests that the window has room for. A request that cannot be made fails alone."""
        if self.requests.exhausted and self.is_established:
            self.handler.exhausted(self, now)
        while (task := self.requests.next_task()) is not None:
            message_id = self.requests.next_id
            try:
                payloads = task.payloads(self, now)
                if payloads is None:
                    continue
                datagrams = self.seal(task.exchange, message_id, False, payloads)
            except Exception as error:
                if not isinstance(error, IkeError):
                    self.party.emit(Faulted("request", error))
                task.failed(self, FailureReason.NOT_MADE, now)
                continue
            self.requests.next_id += 1
            self.requests.sent(message_id, task, datagrams, now, self.timing())
            self.send(datagrams)
        self.party.schedule(self)

    def respond(self, message_id: int, exchange: int, payloads: Sequence[Payload]) -> None:
        """Answer a request to the address that it came from, and keep the answer for retransmissions. MessageTooLong:
        nothing was done."""
        datagrams = self.seal(exchange, message_id, True, payloads)
        to = self.responses.answered(message_id, datagrams)
        if to is not None:
            self.send(datagrams, to=to)

    def poke(self, now: float) -> None:
        # A first message is as good as a new one. The requests after it may be meant for a peer that is gone.
        anew = self.state is SaState.INIT_SENT
        self.send(self.requests.poke(now, self.timing(), anew=anew), retransmission=True)
        self.party.schedule(self)

    # -- in --------------------------------------------------------------------------------------

    def receive(self, data: bytes, header: Header, peer: PeerAddress, now: float) -> None:
        """Handle a datagram with our SPIs. Nothing changes before its ICV is found valid."""
        try:
            if header.is_response:
                self._receive_response(data, header, peer, now)
            else:
                self._receive_request(data, header, peer, now)
        except Exception:
            if self._touched:
                self.broken(now)
            raise
        finally:
            self._touched = False

    def _open(self, data: bytes, header: Header, peer: PeerAddress, now: float) -> Opened | None:
        protection = self._in or self.handler.untried(self)
        if protection is None:
            self.party.drop(f"{_kind(header)}: no keys yet", peer)
            return None
        try:
            opened = open_message(data, header, protection)
        except IntegrityFailure as error:
            self.party.drop(f"{_kind(header)}: {error}", peer)
            return None
        except MalformedMessage:
            self._authentic(header, peer, now)
            raise
        self._authentic(header, peer, now)
        return opened

    def _assemble(self, header: Header, opened: Opened) -> Opened | None:
        if not opened.total:
            return opened
        if not self.party.config.fragmentation:
            raise MalformedMessage("fragment, but fragmentation was not agreed")
        if self._fragments is None:
            self._fragments = Reassembler(self.party.config.max_fragments, self.party.fragments)
        trusted = self.state is SaState.ESTABLISHED
        return self._fragments.add(header.is_response, header.message_id, opened, trusted=trusted)

    def forget_fragments(self) -> None:
        """Drop all incomplete messages."""
        if self._fragments is not None:
            self._fragments.forget_all()

    def _receive_request(self, data: bytes, header: Header, peer: PeerAddress, now: float) -> None:
        party, message_id, exchange = self.party, header.message_id, header.exchange
        arrival = self.responses.arrival(message_id)
        if arrival is Arrival.SEEN:
            answer = self.responses.retransmit(message_id, data, peer, now)
            if answer:
                party.emit(MessageSeen(exchange, True, True, peer))
                self.send(answer, retransmission=True, to=peer)
            return
        if arrival is Arrival.OUTSIDE:
            party.drop(f"{_kind(header)}: Message ID outside of the window", peer)
            return
        if self.state is SaState.CLOSED or not self.handler.wants(self, exchange):
            party.drop(f"{_kind(header)} while {self.state.value}", peer)
            return
        try:
            opened = self._open(data, header, peer, now)
            if opened is None:
                return
            if opened.fragment <= 1:
                self.responses.begins(message_id, data)
            whole = self._assemble(header, opened)
            if whole is None:
                return
            self.responses.accept(message_id, peer)
            self.peer = peer if not self.is_established else self.peer
            self.handler.sealed_request(self, header, whole)
            payloads = parse_payloads(whole.first, whole.inner)
            self.handler.request(self, message_id, exchange, payloads, now)
        except UnsupportedCriticalPayload as error:
            self.respond(
                message_id,
                exchange,
                [NotifyPayload(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes((error.payload_type,)))],
            )
            if not self.is_established:
                self.close(CloseReason.INVALID_SYNTAX, now)
        except MalformedMessage:
            # RFC 7296 §2.21.3: the error is sent protected, and the SA does not survive it.
            if self.responses.arrival(message_id) is Arrival.NEW:
                self.responses.accept(message_id, peer)
            self.respond(message_id, exchange, [NotifyPayload(NotifyType.INVALID_SYNTAX)])
            self.close(CloseReason.INVALID_SYNTAX, now)
        if self.responses.exhausted and self.is_established:
            self.handler.exhausted(self, now)
        party.schedule(self)

    def _authentic(self, header: Header, peer: PeerAddress, now: float) -> None:
        """The peer itself has sent this datagram."""
        self._touched = True
        if self._in is None:
            self.handler.proven(self)
        self.party.emit(MessageSeen(header.exchange, not header.is_response, False, peer))
        self.last_heard = now

    def _receive_response(self, data: bytes, header: Header, peer: PeerAddress, now: float) -> None:
        party, message_id = self.party, header.message_id
        waiting = self.requests.outstanding.get(message_id)
        if waiting is None or waiting.task.exchange != header.exchange:
            party.drop(f"{_kind(header)} to no request", peer)
            return
        try:
            opened = self._open(data, header, peer, now)
            if opened is None:
                return
            whole = self._assemble(header, opened)
            if whole is None:
                return
            del self.requests.outstanding[message_id]
            waiting.task.received(self, header, whole)
            payloads = parse_payloads(whole.first, whole.inner)
            if self.is_established and notifies(payloads, NotifyType.INVALID_SYNTAX):
                # §2.21.3: the peer no longer has the SA.
                waiting.task.failed(self, FailureReason.SA_CLOSED, now)
                self.close(CloseReason.INVALID_SYNTAX, now, NotifyType.INVALID_SYNTAX)
            else:
                waiting.task.complete(self, payloads, now)
            if self.established_at is not None:  # before that, the identity of the answering party is unproven
                self.way.answered(waiting.sent_at, now)
        except MalformedMessage:
            self.requests.outstanding.pop(message_id, None)
            waiting.task.failed(self, FailureReason.SA_CLOSED, now)
            self.handler.malformed(self, now)
        self.pump(now)

    # -- time and end ----------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """The time of the next tick."""
        times = [t for t in (self.requests.deadline(), self.expires_at) if t is not None]
        if self.state is SaState.ESTABLISHED:
            config = self.party.config
            if config.liveness_s and not self.requests.outstanding:
                times.append(self.last_heard + config.liveness_s)
            if self.rekey_at is not None and self.rekeying is None:
                times.append(self.rekey_at)
            times += [r.rekey_at for r in self.children.values() if r.may_rekey and r.rekey_at is not None]
        return min(times) if times else None

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.expires_at is not None and self.expires_at <= now:
            self.expires_at = None
            if self.state in (SaState.CLOSED, SaState.DELETING, SaState.REKEYED):
                self.close(CloseReason.DELETED_BY_US, now)
                self.party.forget(self)
            else:
                self.handler.expired(self, now)
            return
        again, given_up = self.requests.due(now, self.timing())
        if given_up:
            if self.state not in (SaState.AUTH_SENT, SaState.INTERMEDIATE_SENT):  # anyone may have answered before
                self.way.unanswered(min(item.sent_at[0] for item in self.requests.outstanding.values()))
            self.handler.unanswered(self, now)
            return
        self.send(again, retransmission=True)
        if self.state is SaState.ESTABLISHED:
            self.handler.periodic(self, now)

    def end(self, task: Task, reason: CloseReason, now: float) -> None:
        """Send this Delete and end; for the layer above the SA is closed at once."""
        if self.state in (SaState.DELETING, SaState.CLOSED):
            return
        self._fail_tasks(FailureReason.SA_CLOSED, now)
        self.state = SaState.DELETING
        self.expires_at = None
        self.end_half_open()
        self.party.down(self)
        if self.established_at is not None:
            self.party.going(self, now)
        if self.handle.current is self:
            self.children.clear()
            self.party.emit(Closed(self.handle, reason))
        self.handler.closed(self, reason, None, now)
        self.enqueue(task, now)

    def _fail_tasks(self, why: FailureReason, now: float) -> None:
        """Tell all tasks that there will be no answer. Outstanding requests stay: their Message IDs must be answered
        before the next request may be sent (window of 1)."""
        outstanding = list(self.requests.outstanding.values())
        tasks = [item.task for item in outstanding] + list(self.requests.queue)
        for item in outstanding:
            item.task = _Orphan(item.task.exchange)
        self.requests.queue.clear()
        for token in tuple(self.tokens):
            self.party.take_token(token)
        for task in tasks:
            task.failed(self, why, now)

    def close(self, reason: CloseReason, now: float, notify: int | None = None) -> None:
        """End the SA; it answers retransmissions for a while. Nothing is sent."""
        if self.state is SaState.CLOSED:
            return
        announced = self.state is SaState.DELETING
        self._fail_tasks(FailureReason.TIMEOUT if reason is CloseReason.TIMEOUT else FailureReason.SA_CLOSED, now)
        self.state = SaState.CLOSED
        self.party.down(self)
        self.requests.outstanding.clear()
        # A rekeyed SA ends silently: its handle stands for the new one.
        if not announced and self.handle.current is self:
            self.children.clear()
            self.party.emit(Closed(self.handle, reason, notify))
        self.linger(now)
        if self.established_at is not None:
            self.party.going(self, now)
        self.party.schedule(self)
        if not announced:
            self.handler.closed(self, reason, notify, now)

    def linger(self, now: float) -> None:
        """Answer retransmissions as long as the peer may send them, then be forgotten."""
        patience_s = self.timing().patience_s if self.established_at is not None else 0.0
        self.expires_at = now + max(self.party.config.linger_s, patience_s)

    def broken(self, now: float) -> None:
        """A fault of ours has left this SA half changed: close it, with all SAs that it considers gone."""
        try:
            self.close(CloseReason.FAULT, now)
        except Exception as error:
            self.party.emit(Faulted("close", error))
            self.requests.outstanding.clear()
            self.expires_at = now + self.party.config.linger_s
            if self.handle.current is self:
                self.party.emit(Closed(self.handle, CloseReason.FAULT))

    def end_half_open(self) -> None:
        """This SA no longer counts as half-open."""
        if self.half_open_peer is not None:
            self.party.end_half_open(self, self.half_open_peer)
            self.half_open_peer = None

    @property
    def may_be_displaced(self) -> bool:
        """True if this half-open SA may be dropped for another: its peer has not proved a key, or it is over."""
        return self.state in (SaState.HALF_OPEN, SaState.CLOSED)

    def displace(self) -> None:
        """End at once, for another handshake of the same source. The layer above does not know this SA, or knows that
        it is over."""
        self.party.drop("half-open SA, for another of this source", self.peer)
        self.requests.outstanding.clear()
        self.state = SaState.CLOSED
        self.party.forget(self)
