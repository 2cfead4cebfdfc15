"""The responder's side of IKE_SA_INIT, IKE_INTERMEDIATE and the AUTH exchange (RFC 7296 §1.2).

States: HALF_OPEN → AUTH_DECIDING → ESTABLISHED. `answer_init` keeps no state until a request is acceptable, and under
load not until the request brings our cookie.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from agents.ikev2 import auth, key_exchange
from agents.ikev2 import keys as key_schedule
from agents.ikev2.child_negotiation import ChildRefused, answer_child
from agents.ikev2.codec.header import ZERO_SPI, Header, encode_header
from agents.ikev2.codec.payloads import (
    AuthPayload,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    RawPayload,
    SaPayload,
    TsPayload,
    encode_payloads,
    find,
    notifies,
    parse_payloads,
)
from agents.ikev2.errors import MalformedMessage, UnsupportedAlgorithm, UnsupportedCriticalPayload
from agents.ikev2.establish import establish
from agents.ikev2.events import AuthRequest, ChildEstablished, CloseReason, MessageSeen, Send
from agents.ikev2.exchange import RETRANSMIT_S
from agents.ikev2.handshake import (
    IntAuth,
    announcements,
    credential_of,
    for_layer_above,
    hashes_of,
    required_nonce,
)
from agents.ikev2.keys import IkeKeys
from agents.ikev2.model import PeerAddress, PeerKey
from agents.ikev2.party import MOST_AGREED, MOST_AGREED_OCTETS, Party
from agents.ikev2.protect import Opened, Protection
from agents.ikev2.registry import ExchangeType, Flag, NotifyType, PayloadType, Protocol
from agents.ikev2.sa import Handler, IkeSa, SaState
from agents.ikev2.suites import IkeSuite, choose, ike_suite


def answer_init(party: Party, data: bytes, header: Header, peer: PeerAddress, now: float) -> None:
    """An IKE_SA_INIT request."""
    digest = hashlib.sha256(data).digest()
    known = party.by_init.get(digest)
    if known is not None:
        if known.state is SaState.HALF_OPEN and isinstance(known.handler, Responder):
            known.handler.retransmit(peer, now)
        return
    try:
        payloads = parse_payloads(header.next_payload, data, 28)
        sa, ke, nonce = find(payloads, SaPayload), find(payloads, KePayload), required_nonce(payloads)
        if sa is None or ke is None:
            raise MalformedMessage("SA or KE is missing")
        admitted = _admitted(party, payloads, header, peer, now)
        if admitted is None:
            return
        agreed = _agreed(party, sa)
        if agreed is None:
            only = " with the post-quantum key exchange that is required" if party.only_additional else " of ours"
            party.drop(f"IKE_SA_INIT request has no proposal{only}", peer)
            _reject(party, header, peer, NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN))
            return
        suite, answer = agreed
        required_nonce(payloads, suite.prf)
        if ke.method != suite.ke:
            wanted = NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, suite.ke.to_bytes(2, "big"))
            _reject(party, header, peer, wanted)
            return
        if suite.additional_ke and not notifies(payloads, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED):
            raise MalformedMessage("additional key exchange without IKE_INTERMEDIATE")
        if not party.make_room(peer, now):
            party.drop("too many half-open SAs", peer)
            return
        draft = Draft.of(party, header, suite, answer)
        if len(draft.response) > len(data) and not admitted:
            # A peer that gets more octets than it sent must have proved its address: otherwise anyone could make us
            # send to anyone (RFC 7296 §2.6).
            _ask_for_cookie(party, header, peer, now)
            return
        Responder(party, data, header, peer, payloads, suite, draft, ke.data, nonce, digest, now)
    except UnsupportedCriticalPayload as error:
        _reject(
            party, header, peer, NotifyPayload(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes((error.payload_type,)))
        )
    except (MalformedMessage, UnsupportedAlgorithm) as error:
        party.drop(f"IKE_SA_INIT request: {error}", peer)


def _agreed(party: Party, sa: SaPayload) -> tuple[IkeSuite, RawPayload] | None:
    """The suite of the first of our offers that is met, and the SA payload that says so. Cached, since all peers of one
    kind propose the same. UnsupportedAlgorithm."""
    agreed = party.agreed.get(sa.octets)
    if agreed is None and (chosen := choose(party.offers, sa.proposals, Protocol.IKE, 0)) is not None:
        agreed = ike_suite(chosen.transforms), RawPayload(PayloadType.SA, SaPayload((chosen,)).body())
        if 0 < len(sa.octets) <= MOST_AGREED_OCTETS:
            if len(party.agreed) >= MOST_AGREED:
                party.agreed.clear()
            party.agreed[sa.octets] = agreed
    return agreed


def _reject(party: Party, header: Header, peer: PeerAddress, notify: NotifyPayload) -> None:
    """An answer without state: the responder's SPI is zero. It is no longer than the request."""
    first, body = encode_payloads([notify])
    reply = Header(header.spi_i, ZERO_SPI, first, ExchangeType.IKE_SA_INIT, Flag.RESPONSE, 0)
    if 28 + len(body) <= header.length:
        party.emit(Send(encode_header(reply, 28 + len(body)) + body, peer))


def _admitted(party: Party, payloads: list[Payload], header: Header, peer: PeerAddress, now: float) -> bool | None:
    """Whether our cookie proved the sender's address; None: this request may cost us no state now.

    Under load, and when its share is full, a request needs our cookie (§2.6).
    """
    config = party.config
    cookies = notifies(payloads, NotifyType.COOKIE)
    if cookies and party.cookies.check(cookies[0].data, _cookie_address(peer), header.spi_i, now):
        return True
    few = party.half_open < config.cookie_threshold and party.half_open_of(peer) < config.cookie_threshold_per_address
    if few and party.has_share(peer):
        return False
    _ask_for_cookie(party, header, peer, now)
    return None


def _ask_for_cookie(party: Party, header: Header, peer: PeerAddress, now: float) -> None:
    _reject(
        party,
        header,
        peer,
        NotifyPayload(NotifyType.COOKIE, party.cookies.make(_cookie_address(peer), header.spi_i, now)),
    )


def _cookie_address(peer: PeerAddress) -> str:
    return f"{peer.ip}|{peer.port}"


@dataclass(frozen=True, slots=True)
class Draft:
    """Our answer to an IKE_SA_INIT request, before any state is kept for it."""

    spi: bytes
    nonce: bytes
    ke: key_exchange.KeyExchange
    response: bytes

    @classmethod
    def of(cls, party: Party, header: Header, suite: IkeSuite, answer: RawPayload) -> Draft:
        config = party.config
        ke, nonce, spi = key_exchange.begin(suite.ke, party.random), party.random(config.nonce_octets), party.new_spi()
        reply: list[Payload] = [answer, KePayload(suite.ke, ke.public), NoncePayload(nonce), *announcements(config)]
        if config.childless:
            reply.append(NotifyPayload(NotifyType.CHILDLESS_IKEV2_SUPPORTED))
        if suite.additional_ke:
            reply.append(NotifyPayload(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED))
        first, body = encode_payloads(reply)
        head = Header(header.spi_i, spi, first, ExchangeType.IKE_SA_INIT, Flag.RESPONSE, 0)
        return cls(spi, nonce, ke, encode_header(head, 28 + len(body)) + body)


class Responder(Handler):
    """One handshake that a peer began. The shared secret is computed when the first protected message arrives."""

    def __init__(
        self, party: Party, data: bytes, header: Header, peer: PeerAddress, payloads: list[Payload],
        suite: IkeSuite, draft: Draft, public: bytes, nonce: bytes, digest: bytes, now: float,
    ) -> None:  # fmt: skip
        config = party.config
        self._party = party
        self._message = data
        self._suite = suite
        self._peer_public = public
        self._ni, self._nr = nonce, draft.nonce
        self._ke: key_exchange.KeyExchange | None = draft.ke
        self._keys: IkeKeys | None = None
        self._additional = list(suite.additional_ke)
        self._peer_hashes = hashes_of(payloads)
        self._auth: list[Payload] = []
        self._above: tuple[Payload, ...] | None = None
        self._retransmitted_at: dict[bool, float] = {}
        self.int_auth = IntAuth()
        sa = self._sa = IkeSa(party, False, peer, header.spi_i, draft.spi, SaState.HALF_OPEN, self, now)
        sa.suite = suite
        sa.init_digest = digest
        sa.responses = type(sa.responses)(next_id=1, size=1)
        sa.peer_fragments = config.fragmentation and bool(notifies(payloads, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED))
        self.response = draft.response
        party.add(sa)
        party.by_init[digest] = sa
        sa.half_open_peer = peer
        party.begin_half_open(sa)
        sa.expires_at = now + config.half_open_timeout_s
        party.emit(MessageSeen(header.exchange, True, False, peer))
        sa.send([self.response])
        party.schedule(sa)

    def retransmit(self, peer: PeerAddress, now: float) -> None:
        """The same request came again: send the answer again; to another address only if it is no longer than the
        request."""
        same = peer == self._sa.peer
        if not same and len(self.response) > len(self._message):
            return
        if now - self._retransmitted_at.get(same, float("-inf")) >= RETRANSMIT_S:
            self._retransmitted_at[same] = now
            self._party.emit(MessageSeen(ExchangeType.IKE_SA_INIT, True, True, peer))
            self._sa.send([self.response], retransmission=True, to=peer)

    # -- protected messages ----------------------------------------------------------------------

    def wants(self, sa: IkeSa, exchange: int) -> bool:
        wanted = {int(ExchangeType.IKE_INTERMEDIATE)} if self._additional else self._party.accept_auth
        return sa.state is SaState.HALF_OPEN and exchange in wanted

    def untried(self, sa: IkeSa) -> Protection | None:
        """The keys, computed when the first message arrives that may be protected by them."""
        if self._ke is not None:
            ke, self._ke = self._ke, None
            with contextlib.suppress(MalformedMessage):
                secret = ke.shared(self._peer_public)
                self._keys = key_schedule.initial_keys(self._suite, secret, self._ni, self._nr, sa.spi_i, sa.spi_r)
        if self._keys is None:
            return None
        return self._suite.protection(self._keys.sk_ei, self._keys.sk_ai, self._party.random)

    def proven(self, sa: IkeSa) -> None:
        assert self._keys is not None
        sa.set_keys(self._suite, self._keys)
        self._keys = None

    def sealed_request(self, sa: IkeSa, header: Header, opened: Opened) -> None:
        if header.exchange == ExchangeType.IKE_INTERMEDIATE:
            assert sa.keys is not None
            self.int_auth.add(self._suite.prf, sa.keys.sk_pi, True, header, opened)

    def request(self, sa: IkeSa, message_id: int, exchange: int, payloads: list[Payload], now: float) -> None:
        if exchange == ExchangeType.IKE_INTERMEDIATE:
            self._intermediate(message_id, payloads)
            sa.expires_at = now + self._party.config.half_open_timeout_s  # one more round trip for each method
        else:
            self._authenticate(message_id, exchange, payloads, now)

    def _intermediate(self, message_id: int, payloads: list[Payload]) -> None:
        sa, ke = self._sa, find(payloads, KePayload)
        assert sa.keys is not None
        method = self._additional.pop(0)
        if ke is None or ke.method != method:
            raise MalformedMessage("IKE_INTERMEDIATE without the KE that was agreed")
        public, secret = key_exchange.answer(method, ke.data, self._party.random)
        reply: list[Payload] = [KePayload(method, public)]
        first, inner = encode_payloads(reply)
        head = Header(sa.spi_i, sa.spi_r, 0, ExchangeType.IKE_INTERMEDIATE, Flag.RESPONSE, message_id)
        self.int_auth.add(self._suite.prf, sa.keys.sk_pr, False, head, Opened(first, inner))
        sa.respond(message_id, ExchangeType.IKE_INTERMEDIATE, reply)
        sa.set_keys(
            self._suite,
            key_schedule.additional_keys(self._suite, sa.keys.sk_d, secret, self._ni, self._nr, sa.spi_i, sa.spi_r),
        )

    def _authenticate(self, message_id: int, exchange: int, payloads: list[Payload], now: float) -> None:
        sa, party = self._sa, self._party
        ident, proof = find(payloads, IdPayload, PayloadType.IDi), find(payloads, AuthPayload)
        if ident is None or proof is None:
            raise MalformedMessage("IDi or AUTH is missing")
        asked = find(payloads, IdPayload, PayloadType.IDr)
        key: PeerKey | None = None
        if asked is None or asked.identification == party.identity.id:
            key = party.authenticate(ident.identification, credential_of(payloads), sa.peer)
        if key is None or not self._proven(key, ident, proof, message_id):
            sa.respond(message_id, exchange, [NotifyPayload(NotifyType.AUTHENTICATION_FAILED)])
            sa.close(CloseReason.AUTHENTICATION_FAILED, now)
            return
        sa.peer_id, sa.peer_key = ident.identification, key
        sa.way = party.way(sa.peer_id)
        sa.hint_s = now - sa.created_at  # no sample: its request may have been retransmitted
        sa.state = SaState.AUTH_DECIDING
        self._auth = payloads
        if exchange != ExchangeType.IKE_AUTH:
            token, self._above = party.new_token(sa, message_id, exchange), for_layer_above(payloads)
            party.emit(AuthRequest(token, sa.handle, sa.peer_id, sa.peer, self._above))
        else:
            self.finish(message_id, exchange, (), now)

    def _proven(self, key: PeerKey, ident: IdPayload, proof: AuthPayload, message_id: int) -> bool:
        sa = self._sa
        assert sa.keys is not None
        octets = auth.signed_octets(
            self._message, self._nr, self._suite.prf, sa.keys.sk_pi, ident.body(), self.int_auth.octets(message_id)
        )
        return auth.verify(key.public_key, octets, proof, self._party.config.signature_hashes)

    def finish(self, message_id: int, exchange: int, extra: Sequence[Payload], now: float) -> None:
        """Send our half of AUTH with the payloads of the layer above, and a Child SA if one was requested."""
        sa, party = self._sa, self._party
        assert sa.keys is not None
        own = IdPayload(PayloadType.IDr, party.identity.id)
        octets = auth.signed_octets(
            self.response, self._ni, self._suite.prf, sa.keys.sk_pr, own.body(), self.int_auth.octets(message_id)
        )
        try:
            proof = auth.sign(party.identity.private_key, octets, self._peer_hashes)
        except UnsupportedAlgorithm:
            sa.respond(message_id, exchange, [NotifyPayload(NotifyType.AUTHENTICATION_FAILED)])
            sa.close(CloseReason.AUTHENTICATION_FAILED, now)
            return
        reply: list[Payload] = [own, proof]
        if party.config.window > 1:
            reply.append(NotifyPayload(NotifyType.SET_WINDOW_SIZE, party.config.window.to_bytes(4, "big")))
        reply += extra
        child: ChildEstablished | None = None
        if exchange == ExchangeType.IKE_AUTH and find(self._auth, TsPayload) is not None:
            try:
                head, tail, child = answer_child(sa, self._auth, self._ni, self._nr, now, with_ke=False)
                reply += head + tail
            except ChildRefused as refusal:
                reply.append(refusal.payload())
            except UnsupportedAlgorithm:
                reply.append(NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN))
        sa.responses.size = party.config.window
        sa.respond(message_id, exchange, reply)
        initial_contact = bool(notifies(self._auth, NotifyType.INITIAL_CONTACT))
        establish(sa, self._auth, initial_contact, now, self._above)
        if child is not None:
            party.emit(child)
