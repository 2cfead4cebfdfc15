"""All IKE SAs of one party, without sockets or clocks: datagrams and time in, effects out.

Finds the SA that a datagram belongs to and hands the datagram over. Knows nothing of payloads.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.ikev2.child import ChildOffer, ChildPolicy, ChildSa
from agents.ikev2.child_exchange import CreateChild
from agents.ikev2.codec.header import ZERO_SPI, Header, parse_header
from agents.ikev2.codec.payloads import Identification, Payload
from agents.ikev2.config import IkeConfig, Offer, has_additional
from agents.ikev2.errors import MalformedMessage, UnknownSa
from agents.ikev2.events import CloseReason, Event, Faulted, RequestFailed, ResponseReceived, Send
from agents.ikev2.exchange import Task
from agents.ikev2.handle import SaHandle
from agents.ikev2.ike_rekey import RekeyIke
from agents.ikev2.informational import DeleteChild, DeleteIke, Liveness
from agents.ikev2.initiator import Initiator
from agents.ikev2.model import Authenticate, Datagram, LocalIdentity, PeerAddress, RandomSource
from agents.ikev2.party import Party
from agents.ikev2.registry import ExchangeType, exchange_name
from agents.ikev2.request import FailureReason, Request
from agents.ikev2.responder import Responder, answer_init
from agents.ikev2.sa import ChildRecord, IkeSa, SaState

_MAJOR_VERSION = 2


class _UpperRequest(Task):
    """A method that the layer above calls. Its results are events. It runs when the endpoint is at rest again."""

    def __init__(self, exchange: int, request: Request) -> None:
        self.exchange = int(exchange)
        self._request = request

    def payloads(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        return self._request.payloads()

    def complete(self, sa: IkeSa, payloads: list[Payload], now: float) -> None:
        sa.party.emit(ResponseReceived(sa.handle, self._request, tuple(payloads)))

    def failed(self, sa: IkeSa, reason: FailureReason, now: float) -> None:
        sa.party.emit(RequestFailed(sa.handle, self._request, reason))


class IkeEndpoint:
    """One party. `now` is always in seconds of the same monotonic clock. Not thread-safe."""

    def __init__(
        self,
        identity: LocalIdentity,
        authenticate: Authenticate,
        *,
        random: RandomSource,
        config: IkeConfig | None = None,
        auth_exchange: ExchangeType = ExchangeType.IKE_AUTH,
        child_policy: ChildPolicy | None = None,
    ) -> None:
        """`random(n)` gives n octets fit for keys. Raises UnsupportedAlgorithm for offers that we cannot make."""
        self._party = Party(identity, authenticate, random, config or IkeConfig(), auth_exchange, child_policy)

    @property
    def config(self) -> IkeConfig:
        return self._party.config

    @property
    def only_additional(self) -> bool:
        """True if every proposal has an additional key exchange (RFC 9370)."""
        return self._party.only_additional

    @property
    def half_open(self) -> int:
        """The number of unfinished handshakes that peers began."""
        return self._party.half_open

    def sas(self, peer_id: Identification | None = None) -> tuple[SaHandle, ...]:
        """The established SAs, of all peers or of one."""
        groups = self._party.by_peer.values() if peer_id is None else [self._party.by_peer.get(peer_id, set())]
        return tuple(sa.handle for group in groups for sa in sorted(group, key=lambda item: item.handle.number))

    # -- commands --------------------------------------------------------------------------------

    def connect(
        self,
        peer: PeerAddress,
        expected: Identification,
        first: Sequence[Payload],
        now: float,
        *,
        child: ChildOffer | None = None,
        initial_contact: bool = True,
    ) -> SaHandle:
        """Begin IKE_SA_INIT, then the AUTH exchange with `first`.

        INITIAL_CONTACT is sent only if no other IKE SA with `expected` exists when AUTH is sent. Ends with Established
        or Closed.
        """
        return Initiator(self._party, peer, expected, first, child, initial_contact, now).sa.handle

    def request(self, sa: SaHandle, exchange: int, request: Request, now: float) -> None:
        """Send a protected request, or queue it while the window is full; ResponseReceived or RequestFailed with it
        follows. Raises UnknownSa unless the SA is established."""
        self._established(sa).enqueue(_UpperRequest(exchange, request), now)

    def respond(self, token: int, payloads: Sequence[Payload], now: float) -> None:
        """Answer an AuthRequest or RequestReceived. UnknownSa when its SA is gone or it was answered before;
        MessageTooLong when the answer does not fit, in which case another answer may follow."""
        waiting = self._party.token(token)
        if waiting is None:
            raise UnknownSa(f"token {token}")
        sa, message_id, exchange = waiting
        if sa.state is SaState.AUTH_DECIDING and isinstance(sa.handler, Responder):
            sa.handler.finish(message_id, exchange, payloads, now)
        else:
            sa.respond(message_id, exchange, payloads)
        self._party.take_token(token)
        self._party.schedule(sa)

    def close(self, sa: SaHandle, now: float) -> None:
        """Send a Delete and retransmit it until it is answered. Closed is emitted at once."""
        current = sa.current
        if current.is_established:
            current.end(DeleteIke(), CloseReason.DELETED_BY_US, now)
        else:
            current.close(CloseReason.DELETED_BY_US, now)

    def abandon(self, sa: SaHandle, now: float) -> None:
        """Forget the SA without notifying the peer."""
        sa.current.close(CloseReason.DELETED_BY_US, now)

    def review(self, now: float, peer_id: Identification | None = None) -> None:
        """Apply a new policy to all peers or one: an SA stays only if its peer would be authenticated now, with the
        same key that it proved."""
        for sa in self.sas(peer_id):
            current, party = sa.current, self._party
            assert current.peer_id is not None
            if party.authenticate(current.peer_id, None, current.peer) != current.peer_key:
                self.close(sa, now)

    def offer(self, offers: tuple[Offer, ...], now: float) -> None:
        """Offer and accept these proposals from now on. An IKE SA without an additional key exchange that is now the
        first choice is rekeyed, first by the side that began it. An SA that must not stay without one is closed if its
        peer refuses.

        Raises UnsupportedAlgorithm, and changes nothing, for proposals that we cannot make.
        """
        party = self._party
        if offers == party.offers:
            return
        party.offer(offers)
        if not has_additional(offers[0]):
            return
        for handle in self.sas():
            sa = handle.current
            if sa.suite is not None and not sa.suite.additional_ke:
                when = now if sa.initiator else now + party.config.retry_s
                sa.rekey_at = when if sa.rekey_at is None else min(sa.rekey_at, when)
                party.schedule(sa)

    def poke(self, sa: SaHandle, now: float) -> None:
        """Retransmit all outstanding requests now, and restart their backoff."""
        for each in sa.current.handler.poked(sa.current):
            each.poke(now)

    def check_liveness(self, sa: SaHandle, now: float) -> None:
        """Send an empty INFORMATIONAL request; without an answer it ends in Closed(TIMEOUT)."""
        self._established(sa).enqueue(Liveness(), now)

    def create_child(self, sa: SaHandle, offer: ChildOffer, now: float) -> None:
        """CREATE_CHILD_SA; ChildEstablished or ChildFailed follows."""
        self._established(sa).enqueue(CreateChild(offer), now)

    def rekey_child(self, sa: SaHandle, child: ChildSa, now: float) -> None:
        """Rekey a Child SA; ChildEstablished and ChildClosed follow. Does nothing during a rekey."""
        current = self._established(sa)
        record = self._child(current, child)
        if record.may_rekey:
            current.enqueue(CreateChild(record.offer, record), now)

    def delete_child(self, sa: SaHandle, child: ChildSa, now: float) -> None:
        """Delete a Child SA; ChildClosed follows."""
        current = self._established(sa)
        record = self._child(current, child)
        if not isinstance(record.busy, DeleteChild):
            current.enqueue(DeleteChild(record), now)

    def rekey_ike(self, sa: SaHandle, now: float) -> None:
        """Rekey the IKE SA under its handle; IkeSaRekeyed follows. Does nothing during a rekey."""
        current = self._established(sa)
        if current.rekeying is None:
            current.enqueue(RekeyIke(current), now)

    def _established(self, sa: SaHandle) -> IkeSa:
        if not sa.established:
            raise UnknownSa(repr(sa))
        return sa.current

    @staticmethod
    def _child(sa: IkeSa, child: ChildSa) -> ChildRecord:
        record = sa.children.get(child.spi_in)
        if record is None:
            raise UnknownSa(f"Child SA {child.spi_in.hex()}")
        return record

    # -- datagrams -------------------------------------------------------------------------------

    def receive(self, datagram: Datagram, now: float) -> None:
        """Handle a received datagram. Raises nothing: a fault of ours closes the SA of an authentic message, and is
        reported."""
        try:
            self._receive(datagram, now)
        except Exception as error:
            self._party.emit(Faulted("datagram", error))

    def _receive(self, datagram: Datagram, now: float) -> None:
        party, peer, data = self._party, datagram.peer, datagram.data
        config = party.config
        if config.hop_limit is not None and datagram.hop_limit != config.hop_limit:
            party.drop("hop limit", peer)
            return
        if config.admit is not None and not config.admit(peer):
            party.drop("address is not admitted", peer)
            return
        try:
            header = parse_header(data)
        except MalformedMessage as error:
            party.drop(f"header: {error}", peer)
            return
        if header.major != _MAJOR_VERSION:
            party.drop(f"major version {header.major}", peer)
        elif header.exchange == ExchangeType.IKE_SA_INIT:
            self._receive_init(data, header, peer, now)
        else:
            self._receive_protected(data, header, peer, now)

    def _receive_init(self, data: bytes, header: Header, peer: PeerAddress, now: float) -> None:
        party = self._party
        if header.is_response:
            sa = party.by_spi.get(header.spi_i)
            if sa is None or header.from_initiator or not isinstance(sa.handler, Initiator):
                party.drop("IKE_SA_INIT response to no request", peer)
                return
            sa.handler.init_response(data, header, peer, now)
            party.schedule(sa)
        elif header.from_initiator and header.spi_r == ZERO_SPI and header.message_id == 0:
            answer_init(party, data, header, peer, now)
        else:
            party.drop("IKE_SA_INIT request with odd header", peer)

    def _receive_protected(self, data: bytes, header: Header, peer: PeerAddress, now: float) -> None:
        party = self._party
        sa = party.by_spi.get(header.spi_r if header.from_initiator else header.spi_i)
        if sa is None or sa.initiator == header.from_initiator:
            party.drop(f"{exchange_name(header.exchange)} for an unknown SPI", peer)
            return
        meant = sa.handler.meant(sa, header.spi_i if header.from_initiator else header.spi_r)
        if not meant:
            party.drop("SPIs do not belong together", peer)
        for each in meant:
            each.receive(data, header, peer, now)

    # -- time and effects ------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do all actions that are due at `now`."""
        self._party.tick(now)

    def next_timer(self) -> float | None:
        """The time of the next tick, or None."""
        return self._party.next_timer()

    def take(self) -> list[Send | Event]:
        """The datagrams to send and the events since the last call, in order."""
        effects, self._party.effects = self._party.effects, []
        return effects
