"""The initiator's side of IKE_SA_INIT, IKE_INTERMEDIATE and the AUTH exchange (RFC 7296 §1.2).

States: INIT_SENT → (INTERMEDIATE_SENT →) AUTH_SENT → ESTABLISHED. `protocol` handles the established SA.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from agents.ikev2 import auth, key_exchange
from agents.ikev2 import keys as key_schedule
from agents.ikev2.child import ChildOffer
from agents.ikev2.child_negotiation import ChildRefused, ChildRequest
from agents.ikev2.codec.header import ZERO_SPI, Header, encode_header
from agents.ikev2.codec.payloads import (
    AuthPayload,
    Identification,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    encode_payloads,
    find,
    first_error,
    notifies,
    parse_payloads,
)
from agents.ikev2.config import has_additional
from agents.ikev2.errors import MalformedMessage, UnsupportedAlgorithm
from agents.ikev2.establish import establish
from agents.ikev2.events import ChildFailed, CloseReason, MessageSeen
from agents.ikev2.exchange import Task
from agents.ikev2.handshake import (
    IntAuth,
    announcements,
    credential_of,
    hashes_of,
    required_nonce,
)
from agents.ikev2.informational import DeleteIke
from agents.ikev2.model import PeerAddress
from agents.ikev2.party import Party
from agents.ikev2.protect import Opened
from agents.ikev2.registry import ExchangeType, Flag, NotifyType, PayloadType, Protocol, TransformType
from agents.ikev2.request import FailureReason
from agents.ikev2.sa import Handler, IkeSa, SaState
from agents.ikev2.suites import IkeSuite, check_answer, ike_suite, proposals_from

GRACE_S = 2.0
"""How long an attempt continues after an answer that was tried has failed: the genuine one may still come."""
TRIED = 16
"""How many answers are tried for each transmission of the request: the first ones, and as many drawn from those that
came later after the previous transmission. Each costs a key exchange and a signature."""

_Verdict = tuple[CloseReason, int | None]


class Initiator(Handler):
    """One attempt. Anyone can answer IKE_SA_INIT, so errors and unusable answers end nothing. Each usable answer is
    tried by itself until one proves to be the peer's."""

    def __init__(
        self, party: Party, peer: PeerAddress, expected: Identification, first: Sequence[Payload],
        child: ChildOffer | None, initial_contact: bool, now: float,
    ) -> None:  # fmt: skip
        self.party = party
        self.expected = expected
        self.first = tuple(first)
        self.child = child
        self.initial_contact = initial_contact
        self._proposals = proposals_from(party.offers, Protocol.IKE)
        self._cookie: bytes | None = None
        self._rounds = party.config.max_cookie_rounds
        self._cookies = 0  # that came since the last transmission of the request
        self._changed = False
        self._messages: dict[int, bytes] = {}  # the last request of each key exchange method
        self._answers: set[bytes] = set()
        self._left = TRIED
        self._more = 0  # usable answers beyond those since the last transmission
        self._drawn: list[tuple[bytes, Header, list[Payload], float]] = []  # some of these, and the time that they took
        self._tried: list[_Accepted] = []
        self._verdict: _Verdict | None = None
        self._method = next(item.id for item in self._proposals[0].transforms if item.type == TransformType.KE)
        self._kes = {self._method: key_exchange.begin(self._method, party.random)}
        self.ni = party.random(party.config.nonce_octets)
        self.sa = IkeSa(party, True, peer, party.new_spi(), ZERO_SPI, SaState.INIT_SENT, self, now)
        self.sa.peer_id = expected
        self.sa.way = party.way(expected)
        party.add(self.sa)
        self._send_init(now)

    # -- IKE_SA_INIT -----------------------------------------------------------------------------

    def message(self) -> bytes:
        """The IKE_SA_INIT request that is about to be sent, as the last answer asked for it."""
        self._left, self._cookies = TRIED, 0
        if self._method not in self._kes:
            self._kes[self._method] = key_exchange.begin(self._method, self.party.random)
            self._changed = True
        if not self._changed and self._method in self._messages:
            return self._messages[self._method]
        config, ke = self.party.config, self._kes[self._method]
        payloads: list[Payload] = []
        if self._cookie is not None:
            payloads.append(NotifyPayload(NotifyType.COOKIE, self._cookie))
        payloads += [SaPayload(self._proposals), KePayload(ke.method, ke.public), NoncePayload(self.ni)]
        payloads += announcements(config)
        if any(has_additional(proposal.transforms) for proposal in self._proposals):
            payloads.append(NotifyPayload(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED))
        first, body = encode_payloads(payloads)
        header = Header(self.sa.spi_i, ZERO_SPI, first, ExchangeType.IKE_SA_INIT, Flag.INITIATOR, 0)
        message = self._messages[self._method] = encode_header(header, 28 + len(body)) + body
        self._changed = False
        return message

    def _send_init(self, now: float) -> None:
        sa, message = self.sa, self.message()
        sa.requests.sent(0, _InitTask(self), [message], now, sa.timing())
        sa.send([message])
        self.party.schedule(sa)

    def init_response(self, data: bytes, header: Header, peer: PeerAddress, now: float) -> None:
        """An answer to IKE_SA_INIT."""
        sa = self.sa
        waiting = sa.requests.outstanding.get(0) if sa.state is SaState.INIT_SENT else None
        digest = hashlib.sha256(data).digest()
        known = digest in self._answers
        self.party.emit(MessageSeen(header.exchange, False, waiting is None or known, peer))
        if waiting is None or known or header.message_id != 0:
            return
        try:
            payloads = parse_payloads(header.next_payload, data, 28)
            if find(payloads, SaPayload) is None:
                self._init_refused(payloads, now)
            elif self._left == 0:
                self._draw(data, header, payloads, now - waiting.sent_at[0])
            else:
                if self._left == TRIED:
                    self._try_drawn(now)
                took_s = now - waiting.sent_at[0]
                self._init_accepted(data, header, payloads, took_s, now)
                self._answers.add(digest)
                self._left -= 1
                # The request is sent again if this answer is not the peer's, but first gives its AUTH time.
                if len(self._answers) == 1:
                    waiting.deadline = max(waiting.deadline, now + max(sa.timing().delay(3), 2 * took_s))
                else:  # an attacker is on the path: retransmit as often as at first
                    waiting.waits = 0
                    waiting.deadline = now + max(sa.timing().delay(0), 2 * (now - waiting.sent_at[-1]))
                self.party.schedule(sa)
        except (MalformedMessage, UnsupportedAlgorithm) as error:
            self.party.drop(f"IKE_SA_INIT response: {error}", peer)

    def _draw(self, data: bytes, header: Header, payloads: list[Payload], took_s: float) -> None:
        """Keep some of the answers beyond those that are tried, each with the same chance. An attacker that reads the
        link can always be faster than the peer, but must send very many answers to keep the peer's out."""
        self._more += 1
        if len(self._drawn) < TRIED:
            self._drawn.append((data, header, payloads, took_s))
        elif (index := self.party.lot(self._more)) < TRIED:
            self._drawn[index] = data, header, payloads, took_s

    def _try_drawn(self, now: float) -> None:
        """The first answer since the retransmission has arrived: try the answers that were drawn before."""
        drawn, self._drawn, self._more = self._drawn, [], 0
        for data, header, payloads, took_s in drawn:
            digest = hashlib.sha256(data).digest()
            if digest in self._answers:
                continue
            self._answers.add(digest)
            try:
                self._init_accepted(data, header, payloads, took_s, now)
            except (MalformedMessage, UnsupportedAlgorithm) as error:
                self.party.drop(f"IKE_SA_INIT response: {error}", self.sa.peer)

    def _init_refused(self, payloads: list[Payload], now: float) -> None:
        """A refusal's request (cookie, key exchange method) is followed at once a few times. After that, or while an
        answer is tried, it waits for the next retransmission."""
        cookies = notifies(payloads, NotifyType.COOKIE)
        if cookies and cookies[0].data == self._cookie:
            return  # the answer to a transmission from before we had the cookie
        wanted = notifies(payloads, NotifyType.INVALID_KE_PAYLOAD)
        error = first_error(payloads)
        if cookies and 1 <= len(cookies[0].data) <= 64:
            self._cookies += 1
            at_once = self._rounds > 0 and not self._live
            if not at_once and self.party.lot(self._cookies):
                return  # each late answer has the same chance to be the next
            self._changed = self._changed or self._cookie != cookies[0].data
            self._cookie = cookies[0].data
        elif wanted and len(wanted[0].data) == 2:
            method = int.from_bytes(wanted[0].data, "big")
            ours = {item.id for p in self._proposals for item in p.transforms if item.type == TransformType.KE}
            if method not in ours or method == self._method:
                raise MalformedMessage(f"peer wants key exchange method {method}, which was not offered")
            self._method, self._changed = method, True
        elif error is not None:
            refused = error.type == NotifyType.NO_PROPOSAL_CHOSEN
            self._verdict = CloseReason.NO_PROPOSAL_CHOSEN if refused else CloseReason.REFUSED, error.type
            return
        else:
            return
        if self._rounds > 0 and not self._live:
            self._rounds -= 1
            self._send_init(now)
        else:
            self._verdict = CloseReason.REFUSED, (cookies or wanted)[0].type

    def _init_accepted(self, data: bytes, header: Header, payloads: list[Payload], took_s: float, now: float) -> None:
        answer, ke = find(payloads, SaPayload), find(payloads, KePayload)
        if answer is None or ke is None or header.spi_r == ZERO_SPI:
            raise MalformedMessage("SA, KE or SPI is missing")
        chosen = check_answer(self._proposals, answer.proposals, 0)
        suite = ike_suite(chosen.transforms)
        own, message = self._kes.get(suite.ke), self._messages.get(suite.ke)
        if ke.method != suite.ke or own is None or message is None:
            raise MalformedMessage("key exchange methods differ")
        nr = required_nonce(payloads, suite.prf)
        childless = bool(notifies(payloads, NotifyType.CHILDLESS_IKEV2_SUPPORTED))
        if self.party.auth_exchange == ExchangeType.IKE_AUTH and self.child is None and not childless:
            self._verdict = CloseReason.REFUSED, NotifyType.CHILDLESS_IKEV2_SUPPORTED
            raise MalformedMessage("peer makes no IKE SA without a Child SA")
        accepted = _Accepted(self, message, data, header.spi_r, suite, own.shared(ke.data), nr, payloads, now)
        accepted.sa.way, accepted.sa.hint_s = self.sa.way, took_s
        if len(self._live) == 2 * TRIED:
            self._live[0].sa.close(CloseReason.TIMEOUT, now)
        self._tried.append(accepted)
        accepted.next(now)

    # -- what becomes of the answers ----------------------------------------------------------------

    @property
    def _live(self) -> list[_Accepted]:
        return [each for each in self._tried if each.sa.state in (SaState.INTERMEDIATE_SENT, SaState.AUTH_SENT)]

    def meant(self, sa: IkeSa, peer_spi: bytes) -> Sequence[IkeSa]:
        return [each.sa for each in self._tried if each.sa.spi_r == peer_spi]

    def poked(self, sa: IkeSa) -> Sequence[IkeSa]:
        return [each.sa for each in self._live] or [sa]

    def won(self, accepted: IkeSa) -> None:
        """This answer is the peer's: its SA is the one from now on."""
        sa = self.sa
        sa.handle.move(accepted)
        self.party.by_spi[sa.our_spi] = accepted
        sa.state, sa.expires_at = SaState.CLOSED, None
        sa.requests.outstanding.clear()
        for each in self._tried:
            if each.sa is not accepted:
                each.sa.requests.outstanding.clear()
                each.sa.state = SaState.CLOSED

    def lost(self, reason: CloseReason, notify: int | None, now: float) -> None:
        """An answer that was tried is not the peer's, or the peer refuses us."""
        sa = self.sa
        if sa.state is not SaState.INIT_SENT:
            return
        first_s = sa.timing().delay(0)
        if reason is not CloseReason.TIMEOUT:
            self._verdict = reason, notify
            if len(self._answers) == 1:  # otherwise there are others, and the peer's may be among them
                sa.expires_at = now + first_s + GRACE_S if sa.expires_at is None else sa.expires_at
        if not self._live and (waiting := sa.requests.outstanding.get(0)) is not None:
            # The peer's own answer may have come when no more were tried, or may have asked for another request.
            waiting.deadline = min(waiting.deadline, now + first_s)
        self.party.schedule(sa)
        self._end(now)

    def expired(self, sa: IkeSa, now: float) -> None:
        sa.requests.outstanding.clear()
        self._end(now)

    def unanswered(self, sa: IkeSa, now: float) -> None:
        sa.requests.outstanding.clear()
        self._end(now)

    def _end(self, now: float) -> None:
        """The attempt ends when the request is no longer sent and no answer is being tried."""
        if not self.sa.requests.outstanding and not self._live and self.sa.state is SaState.INIT_SENT:
            self.sa.close(*_with_time(self._verdict or (CloseReason.TIMEOUT, None), now))

    def closed(self, sa: IkeSa, reason: CloseReason, notify: int | None, now: float) -> None:
        for each in self._live:
            each.sa.close(reason, now)


def _with_time(verdict: _Verdict, now: float) -> tuple[CloseReason, float, int | None]:
    return verdict[0], now, verdict[1]


class _InitTask(Task):
    """Keeps IKE_SA_INIT in the window; its unprotected response arrives by another path."""

    exchange = ExchangeType.IKE_SA_INIT

    def __init__(self, initiator: Initiator) -> None:
        self._initiator = initiator

    def retransmitted(self, datagrams: list[bytes]) -> list[bytes]:
        return [self._initiator.message()]


class _Accepted(Handler):
    """One answer to IKE_SA_INIT that may be the peer's; AUTH decides."""

    def __init__(
        self, attempt: Initiator, message: bytes, response: bytes, spi_r: bytes, suite: IkeSuite, secret: bytes,
        nr: bytes, payloads: list[Payload], now: float,
    ) -> None:  # fmt: skip
        sa, config = attempt.sa, attempt.party.config
        self._attempt, self._party = attempt, attempt.party
        self._message, self._response, self._nr = message, response, nr
        self._peer_hashes = hashes_of(payloads)
        self._additional = list(suite.additional_ke)
        self.int_auth = IntAuth()
        self.sa = IkeSa(sa.party, True, sa.peer, sa.spi_i, spi_r, SaState.AUTH_SENT, self, now, sa.handle)
        self.sa.peer_id = attempt.expected
        self.sa.set_keys(suite, key_schedule.initial_keys(suite, secret, attempt.ni, nr, sa.spi_i, spi_r))
        offered = bool(notifies(payloads, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED))
        self.sa.peer_fragments = config.fragmentation and offered
        self.sa.requests.next_id = 1

    def closed(self, sa: IkeSa, reason: CloseReason, notify: int | None, now: float) -> None:
        self._attempt.lost(reason, notify, now)

    def malformed(self, sa: IkeSa, now: float) -> None:
        # §2.21.2: the peer may consider the SA established.
        sa.end(DeleteIke(NotifyType.INVALID_SYNTAX), CloseReason.INVALID_SYNTAX, now)

    # -- IKE_INTERMEDIATE ------------------------------------------------------------------------

    def next(self, now: float) -> None:
        """Begin the exchange after IKE_SA_INIT: an additional key exchange, or AUTH."""
        if self._additional:
            self.sa.state = SaState.INTERMEDIATE_SENT
            self.sa.enqueue(_IntermediateTask(self, self._additional.pop(0)), now)
        else:
            self.sa.state = SaState.AUTH_SENT
            self.sa.enqueue(_AuthTask(self), now)

    def intermediate_done(self, secret: bytes, now: float) -> None:
        sa, ni = self.sa, self._attempt.ni
        assert sa.suite is not None and sa.keys is not None
        sa.set_keys(
            sa.suite,
            key_schedule.additional_keys(sa.suite, sa.keys.sk_d, secret, ni, self._nr, sa.spi_i, sa.spi_r),
        )
        self.next(now)

    # -- AUTH ------------------------------------------------------------------------------------

    def auth_payloads(self, message_id: int, now: float) -> list[Payload] | None:
        """The AUTH request."""
        sa, party = self.sa, self._party
        assert sa.suite is not None and sa.keys is not None
        own = IdPayload(PayloadType.IDi, party.identity.id)
        octets = auth.signed_octets(
            self._message, self._nr, sa.suite.prf, sa.keys.sk_pi, own.body(), self.int_auth.octets(message_id)
        )
        try:
            proof = auth.sign(party.identity.private_key, octets, self._peer_hashes)
        except UnsupportedAlgorithm:
            sa.close(CloseReason.AUTHENTICATION_FAILED, now)
            return None
        payloads: list[Payload] = [own]
        if self._attempt.initial_contact and not party.by_peer.get(self._attempt.expected):
            payloads.append(NotifyPayload(NotifyType.INITIAL_CONTACT))
        payloads += [IdPayload(PayloadType.IDr, self._attempt.expected), proof]
        if party.config.window > 1:
            payloads.append(NotifyPayload(NotifyType.SET_WINDOW_SIZE, party.config.window.to_bytes(4, "big")))
        payloads += self._attempt.first
        if self._attempt.child is not None:
            self._request = ChildRequest(sa, self._attempt.child, with_ke=False)
            payloads += self._request.payloads()
        return payloads

    def auth_response(self, payloads: list[Payload], message_id: int, now: float) -> None:
        """The answer to AUTH: check the peer's identity before anything else is believed."""
        sa, party = self.sa, self._party
        ident, proof = find(payloads, IdPayload, PayloadType.IDr), find(payloads, AuthPayload)
        if ident is None or proof is None:
            error = first_error(payloads)
            if error is None:
                raise MalformedMessage("AUTH response without IDr or AUTH")
            failed = error.type == NotifyType.AUTHENTICATION_FAILED
            sa.close(CloseReason.AUTHENTICATION_FAILED if failed else CloseReason.REFUSED, now, error.type)
            return
        if not self._is_peer(ident, proof, payloads, message_id):
            sa.end(DeleteIke(NotifyType.AUTHENTICATION_FAILED), CloseReason.AUTHENTICATION_FAILED, now)
            return
        self._attempt.won(sa)
        establish(sa, payloads, False, now)
        if self._attempt.child is not None:
            try:
                self._request.complete(payloads, self._attempt.ni, self._nr, now)
            except ChildRefused as refusal:
                party.emit(ChildFailed(sa.handle, refusal.notify))

    def _is_peer(self, ident: IdPayload, proof: AuthPayload, payloads: list[Payload], message_id: int) -> bool:
        sa, party = self.sa, self._party
        assert sa.suite is not None and sa.keys is not None
        if ident.identification != self._attempt.expected:
            return False
        key = party.authenticate(ident.identification, credential_of(payloads), sa.peer)
        if key is None:
            return False
        octets = auth.signed_octets(
            self._response,
            self._attempt.ni,
            sa.suite.prf,
            sa.keys.sk_pr,
            ident.body(),
            self.int_auth.octets(message_id),
        )
        sa.peer_key = key
        return auth.verify(key.public_key, octets, proof, party.config.signature_hashes)


class _AuthTask(Task):
    def __init__(self, accepted: _Accepted) -> None:
        self._accepted = accepted
        self._message_id = 0
        self.exchange = accepted.sa.party.auth_exchange

    def payloads(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        self._message_id = sa.requests.next_id
        return self._accepted.auth_payloads(self._message_id, now)

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        self._accepted.auth_response(payloads, self._message_id, now)


class _IntermediateTask(Task):
    """One additional key exchange (RFC 9370 §2.2.2)."""

    exchange = ExchangeType.IKE_INTERMEDIATE

    def __init__(self, accepted: _Accepted, method: int) -> None:
        self._accepted = accepted
        self._ke = key_exchange.begin(method, accepted.sa.party.random)

    def payloads(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        payloads: list[Payload] = [KePayload(self._ke.method, self._ke.public)]
        assert sa.suite is not None and sa.keys is not None
        header = Header(sa.spi_i, sa.spi_r, 0, self.exchange, Flag.INITIATOR, sa.requests.next_id)
        first, inner = encode_payloads(payloads)
        self._accepted.int_auth.add(sa.suite.prf, sa.keys.sk_pi, True, header, Opened(first, inner))
        return payloads

    def received(self, sa: IkeSa, header: Header, opened: Opened) -> None:
        assert sa.suite is not None and sa.keys is not None
        self._accepted.int_auth.add(sa.suite.prf, sa.keys.sk_pr, False, header, opened)

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        ke, error = find(payloads, KePayload), first_error(payloads)
        if error is not None:
            sa.close(CloseReason.REFUSED, now, error.type)
            return
        if ke is None or ke.method != self._ke.method:
            raise MalformedMessage("IKE_INTERMEDIATE response without the KE that was asked for")
        self._accepted.intermediate_done(self._ke.shared(ke.data), now)

    def failed(self, sa: IkeSa, reason: FailureReason, now: float) -> None:
        return
