"""The initiator's side of IKE_SA_INIT, IKE_INTERMEDIATE and the AUTH exchange, RFC 7296 §1.2.

States: INIT_SENT → (INTERMEDIATE_SENT →) AUTH_SENT → ESTABLISHED. What comes after is `protocol`.
"""

from __future__ import annotations

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
from agents.ikev2.errors import MalformedMessage, UnsupportedAlgorithm
from agents.ikev2.establish import establish
from agents.ikev2.events import ChildFailed, CloseReason, FailureReason, MessageSeen
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
from agents.ikev2.sa import Handler, IkeSa, SaState
from agents.ikev2.suites import check_answer, ike_suite, proposals_from


class _InitTask(Task):
    """Keeps IKE_SA_INIT in the window; its response is not protected and comes by another way."""

    exchange = ExchangeType.IKE_SA_INIT


class Initiator(Handler):
    """One handshake that we began."""

    def __init__(
        self, party: Party, peer: PeerAddress, expected: Identification, first: Sequence[Payload],
        child: ChildOffer | None, initial_contact: bool, now: float,
    ) -> None:  # fmt: skip
        self._party = party
        self._expected = expected
        self._first = tuple(first)
        self._child = child
        self._initial_contact = initial_contact
        self._proposals = proposals_from(party.config.offers, Protocol.IKE)
        self._cookie: bytes | None = None
        self._rounds = 0
        self._message = b""
        self._response = b""
        self._nr = b""
        self._additional: list[int] = []
        self._peer_hashes: frozenset[int] = frozenset()
        self.int_auth = IntAuth()
        method = next(item.id for item in self._proposals[0].transforms if item.type == TransformType.KE)
        self._ke = key_exchange.begin(method, party.random)
        self._ni = party.random(party.config.nonce_octets)
        self.sa = IkeSa(party, True, peer, party.new_spi(), ZERO_SPI, SaState.INIT_SENT, self, now)
        self.sa.peer_id = expected
        self.sa.way = party.way(expected)
        party.add(self.sa)
        self._send_init(now)

    # -- IKE_SA_INIT -----------------------------------------------------------------------------

    def _send_init(self, now: float) -> None:
        sa, config = self.sa, self._party.config
        payloads: list[Payload] = []
        if self._cookie is not None:
            payloads.append(NotifyPayload(NotifyType.COOKIE, self._cookie))
        payloads += [SaPayload(self._proposals), KePayload(self._ke.method, self._ke.public), NoncePayload(self._ni)]
        payloads += announcements(config)
        if any(item.type == TransformType.ADDKE1 for offer in config.offers for item in offer):
            payloads.append(NotifyPayload(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED))
        first, body = encode_payloads(payloads)
        header = Header(sa.spi_i, ZERO_SPI, first, ExchangeType.IKE_SA_INIT, Flag.INITIATOR, 0)
        self._message = encode_header(header, 28 + len(body)) + body
        sa.requests.outstanding.clear()
        sa.requests.sent(0, _InitTask(), [self._message], now, sa.timing())
        sa.send([self._message])
        self._party.schedule(sa)

    def init_response(self, data: bytes, header: Header, peer: PeerAddress, now: float) -> None:
        """An answer to IKE_SA_INIT. It is not authenticated: what is malformed or odd is dropped, and the
        retransmission goes on, so that a forger cannot end the handshake with one packet."""
        self._party.emit(MessageSeen(header.exchange, False, self.sa.state is not SaState.INIT_SENT, peer))
        if self.sa.state is not SaState.INIT_SENT or header.message_id != 0:
            return
        try:
            payloads = parse_payloads(header.next_payload, data, 28)
            if find(payloads, SaPayload) is None:
                self._init_refused(payloads, now)
            else:
                self._init_accepted(data, header, payloads, now)
        except (MalformedMessage, UnsupportedAlgorithm) as error:
            self._party.drop(f"IKE_SA_INIT response: {error}", peer)

    def _init_refused(self, payloads: list[Payload], now: float) -> None:
        cookies = notifies(payloads, NotifyType.COOKIE)
        if cookies and cookies[0].data == self._cookie:
            return  # the answer to a repetition from before we had it
        wanted = notifies(payloads, NotifyType.INVALID_KE_PAYLOAD)
        if cookies or wanted:
            self._rounds += 1
            if self._rounds > self._party.config.max_cookie_rounds:
                self.sa.close(CloseReason.REFUSED, now, cookies[0].type if cookies else wanted[0].type)
                return
        if cookies and 1 <= len(cookies[0].data) <= 64:
            self._cookie = cookies[0].data
            self._send_init(now)
        elif wanted and len(wanted[0].data) == 2:
            method = int.from_bytes(wanted[0].data, "big")
            ours = {item.id for p in self._proposals for item in p.transforms if item.type == TransformType.KE}
            if method not in ours or method == self._ke.method:
                raise MalformedMessage(f"peer wants key exchange method {method}, which was not offered")
            self._ke = key_exchange.begin(method, self._party.random)
            self._send_init(now)
        elif (error := first_error(payloads)) is not None and error.type == NotifyType.NO_PROPOSAL_CHOSEN:
            self.sa.close(CloseReason.NO_PROPOSAL_CHOSEN, now, error.type)
        elif error is not None:
            self.sa.close(CloseReason.REFUSED, now, error.type)

    def _init_accepted(self, data: bytes, header: Header, payloads: list[Payload], now: float) -> None:
        sa, config = self.sa, self._party.config
        answer, ke = find(payloads, SaPayload), find(payloads, KePayload)
        if answer is None or ke is None or header.spi_r == ZERO_SPI:
            raise MalformedMessage("SA, KE or SPI is missing")
        chosen = check_answer(self._proposals, answer.proposals, 0)
        suite = ike_suite(chosen.transforms)
        if ke.method != suite.ke or suite.ke != self._ke.method:
            raise MalformedMessage("key exchange methods differ")
        nr = required_nonce(payloads, suite.prf)
        childless = bool(notifies(payloads, NotifyType.CHILDLESS_IKEV2_SUPPORTED))
        if self._party.auth_exchange == ExchangeType.IKE_AUTH and self._child is None and not childless:
            sa.close(CloseReason.REFUSED, now, NotifyType.CHILDLESS_IKEV2_SUPPORTED)
            return
        hashes = hashes_of(payloads)
        secret = self._ke.shared(ke.data)
        sa.spi_r = header.spi_r
        sa.set_keys(suite, key_schedule.initial_keys(suite, secret, self._ni, nr, sa.spi_i, sa.spi_r))
        sa.peer_fragments = config.fragmentation and bool(notifies(payloads, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED))
        self._nr, self._response, self._peer_hashes = nr, data, hashes
        self._additional = list(suite.additional_ke)
        asked = sa.requests.outstanding.pop(0)
        sa.hint_s = now - asked.sent_at[0]
        sa.requests.next_id = 1
        self._next(now)

    # -- IKE_INTERMEDIATE ------------------------------------------------------------------------

    def _next(self, now: float) -> None:
        if self._additional:
            self.sa.state = SaState.INTERMEDIATE_SENT
            self.sa.enqueue(_IntermediateTask(self, self._additional.pop(0)), now)
        else:
            self.sa.state = SaState.AUTH_SENT
            self.sa.enqueue(_AuthTask(self), now)

    def intermediate_done(self, secret: bytes, now: float) -> None:
        sa = self.sa
        assert sa.suite is not None and sa.keys is not None
        sa.set_keys(
            sa.suite,
            key_schedule.additional_keys(sa.suite, sa.keys.sk_d, secret, self._ni, self._nr, sa.spi_i, sa.spi_r),
        )
        self._next(now)

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
        if self._initial_contact and not party.by_peer.get(self._expected):
            payloads.append(NotifyPayload(NotifyType.INITIAL_CONTACT))
        payloads += [IdPayload(PayloadType.IDr, self._expected), proof]
        if party.config.window > 1:
            payloads.append(NotifyPayload(NotifyType.SET_WINDOW_SIZE, party.config.window.to_bytes(4, "big")))
        payloads += self._first
        if self._child is not None:
            self._request = ChildRequest(sa, self._child, with_ke=False)
            payloads += self._request.payloads()
        return payloads

    def auth_response(self, payloads: list[Payload], message_id: int, now: float) -> None:
        """The answer to AUTH: check who it is before anything else is believed."""
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
        establish(sa, payloads, False, now)
        if self._child is not None:
            try:
                self._request.complete(payloads, self._ni, self._nr, now)
            except ChildRefused as refusal:
                party.emit(ChildFailed(sa.handle, refusal.notify))

    def _is_peer(self, ident: IdPayload, proof: AuthPayload, payloads: list[Payload], message_id: int) -> bool:
        sa, party = self.sa, self._party
        assert sa.suite is not None and sa.keys is not None
        if ident.identification != self._expected:
            return False
        key = party.authenticate(ident.identification, credential_of(payloads), sa.peer)
        if key is None:
            return False
        octets = auth.signed_octets(
            self._response, self._ni, sa.suite.prf, sa.keys.sk_pr, ident.body(), self.int_auth.octets(message_id)
        )
        return auth.verify(key.public_key, octets, proof, party.config.signature_hashes)

    def request(self, sa: IkeSa, message_id: int, exchange: int, payloads: list[Payload], now: float) -> None:
        raise MalformedMessage("request before the SA was established")

    def before_open(self, sa: IkeSa, exchange: int) -> bool:
        return False


class _AuthTask(Task):
    def __init__(self, initiator: Initiator) -> None:
        self._initiator = initiator
        self._message_id = 0
        self.exchange = initiator.sa.party.auth_exchange

    def payloads(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        self._message_id = sa.requests.next_id
        return self._initiator.auth_payloads(self._message_id, now)

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        self._initiator.auth_response(payloads, self._message_id, now)


class _IntermediateTask(Task):
    """One additional key exchange, RFC 9370 §2.2.2."""

    exchange = ExchangeType.IKE_INTERMEDIATE

    def __init__(self, initiator: Initiator, method: int) -> None:
        self._initiator = initiator
        self._ke = key_exchange.begin(method, initiator.sa.party.random)

    def payloads(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        payloads: list[Payload] = [KePayload(self._ke.method, self._ke.public)]
        assert sa.suite is not None and sa.keys is not None
        header = Header(sa.spi_i, sa.spi_r, 0, self.exchange, Flag.INITIATOR, sa.requests.next_id)
        first, inner = encode_payloads(payloads)
        self._initiator.int_auth.add(sa.suite.prf, sa.keys.sk_pi, True, header, Opened(first, inner))
        return payloads

    def received(self, sa: IkeSa, header: Header, opened: Opened) -> None:
        assert sa.suite is not None and sa.keys is not None
        self._initiator.int_auth.add(sa.suite.prf, sa.keys.sk_pr, False, header, opened)

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        ke, error = find(payloads, KePayload), first_error(payloads)
        if error is not None:
            sa.close(CloseReason.REFUSED, now, error.type)
            return
        if ke is None or ke.method != self._ke.method:
            raise MalformedMessage("IKE_INTERMEDIATE response without the KE that was asked for")
        self._initiator.intermediate_done(self._ke.shared(ke.data), now)

    def failed(self, sa: IkeSa, reason: FailureReason, now: float) -> None:
        return
