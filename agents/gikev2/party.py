"""One party above its endpoint: the common part of the LKS on a link, its contact with the DKS, its pairs, and the DKS.

An endpoint's effects are drained here, and every event is dispatched here and nowhere else, each behind the fault
boundary: an exception in one event closes at most its IKE SA, and a request is answered all the same.

datagram, timer, command → endpoint → drain ─┬→ an answer to us    the Request that it is for
                                                 ├→ an IKE SA          on_established, on_closed
                                                 ├→ a Child SA         on_child_…
                                                 └→ a request to us    GSA_AUTH, GSA_REGISTRATION → register
                                                                       GSA_INBAND_REKEY           → rekeyed
                                                                       INFORMATIONAL         → lists, courier, informed

`IkeParty` has everything except the last line, and pairs are such parties. Knows nothing of the purpose of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from agents.gikev2.courier import Courier, DocumentHolder
from agents.gikev2.revocation_exchange import ListHolder, Spread
from agents.gikev2.server import KeyServer, RegistrationRequest, SpeakerRequest
from agents.ikev2 import (
    AuthRequest,
    ChildClosed,
    ChildEstablished,
    ChildFailed,
    Closed,
    Datagram,
    Dropped,
    Established,
    FailureReason,
    Identification,
    IkeConfig,
    IkeEndpoint,
    IkeError,
    KeysDerived,
    LocalIdentity,
    MalformedMessage,
    MessageSeen,
    NotifyPayload,
    Payload,
    PeerAddress,
    PeerCredential,
    PeerKey,
    Request,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    SaHandle,
    Send,
    UnknownSa,
)
from agents.ikev2 import Event as IkeEvent
from agents.ikev2.config import PostQuantum, offers
from agents.ikev2.events import CloseReason, Faulted
from agents.ikev2.model import RandomSource, uniform
from agents.ikev2.registry import ExchangeType, NotifyType
from agents.policy.errors import PolicyError
from agents.policy.names import GroupId, parse_party_id, party_id
from agents.runtime.boundary import Boundary
from agents.runtime.drops import Drops
from agents.runtime.effects import Effect, Event, KeyLines
from agents.runtime.effects import Send as SendEffect

EXCHANGES = frozenset({ExchangeType.GSA_REGISTRATION, ExchangeType.GSA_INBAND_REKEY, ExchangeType.INFORMATIONAL})


class IkeParty:
    """`domain`: its routers may speak to this party; `emit`: takes its effects; `interface`: its own, for the
    record."""

    def __init__(
        self,
        endpoint: IkeEndpoint,
        domain: str,
        emit: Callable[[Effect], None],
        boundary: Boundary,
        interface: str = "",
    ) -> None:
        self._endpoint, self._emit, self.boundary = endpoint, emit, boundary
        self._domain = domain
        self._drops = Drops(self._tell, interface)

    def _tell(self, kind: str, **fields: object) -> None:
        self._emit(Event(kind, fields))

    # -- who it is -------------------------------------------------------------------------------------

    def party_of(self, router: str) -> Identification:
        """The IKE identity of a router or the DKS of our domain."""
        return Identification.key_id(party_id(self._domain, router))

    def router_of(self, identity: Identification | None) -> str | None:
        """The router of our domain with this identity; None when there is none."""
        if identity is None:
            return None
        try:
            domain, router = parse_party_id(identity.data)
        except PolicyError:
            return None
        return router if domain == self._domain else None

    # -- which key exchange ----------------------------------------------------------------------------

    def agree(self, asked: PostQuantum, now: float) -> None:
        """Use the key exchange that policy asks for from now on. UnsupportedAlgorithm when this machine lacks it."""
        self._endpoint.offer(offers(asked), now)

    def key_exchange(self, router: str) -> str | None:
        """The key exchanges of the IKE SAs with this router; None without any."""
        methods = {sa.key_exchange for sa in self._endpoint.sas(self.party_of(router))}
        return ", ".join(sorted(each for each in methods if each is not None)) or None

    def _not_agreed(self, event: Closed) -> None:
        peer = self.router_of(event.sa.peer_id)
        required = " with the post-quantum key exchange that policy requires"
        only = required if self._endpoint.only_additional else " of ours"
        self._tell("error", what="key_exchange", peer=peer, detail=f"the peer takes no proposal{only}")

    # -- what the endpoint gives -----------------------------------------------------------------------

    def _drain(self, now: float) -> None:
        """Send the datagrams and act on the events, in order."""
        while effects := self._endpoint.take():
            for effect in effects:
                if isinstance(effect, Send):
                    if self._may_send():
                        self._emit(SendEffect(effect.data, effect.peer, effect.retransmission))
                else:
                    self._guarded(effect, now)

    def _may_send(self) -> bool:
        """True if datagrams may be sent now."""
        return True

    def _guarded(self, event: IkeEvent, now: float) -> None:
        try:
            self._dispatch(event, now)
        except Exception as error:
            self.boundary.fault(type(event).__name__, error)
            if isinstance(event, AuthRequest | RequestReceived):
                self._reject(event.token, now)
            elif not isinstance(event, Closed) and (sa := getattr(event, "sa", None)) is not None:
                self._endpoint.close(sa, now)

    def _dispatch(self, event: IkeEvent, now: float) -> None:
        match event:
            case Dropped():
                self._drops.saw(event.peer.ip, event.reason, now)
            case MessageSeen():
                self.on_seen(event, now)
            case KeysDerived():
                self._emit(KeyLines(tuple(each for each in (event.line, event.key_wrap_line) if each is not None)))
            case Faulted():
                self.boundary.fault(event.what, event.cause)
            case AuthRequest():
                self.on_auth_request(event, now)
            case RequestReceived():
                self.on_request(event, now)
            case Established():
                self.on_established(event, now)
            case ResponseReceived():
                event.request.answered(event.payloads, now)
            case RequestFailed():
                event.request.failed(event.reason, now)
            case Closed():
                if event.reason is CloseReason.NO_PROPOSAL_CHOSEN:
                    self._not_agreed(event)
                self.on_closed(event, now)
            case ChildEstablished():
                self.on_child_established(event, now)
            case ChildClosed():
                self.on_child_closed(event, now)
            case ChildFailed():
                self.on_child_failed(event, now)

    def on_seen(self, event: MessageSeen, now: float) -> None:
        """A message arrived that was not dropped."""

    def on_auth_request(self, event: AuthRequest, now: float) -> None:
        """A peer has authenticated itself with GSA_AUTH and needs an answer."""

    def on_request(self, event: RequestReceived, now: float) -> None:
        """A request over an established SA needs an answer."""

    def on_established(self, event: Established, now: float) -> None:
        """An IKE SA is established."""

    def on_closed(self, event: Closed, now: float) -> None:
        """An IKE SA is gone."""

    def on_child_established(self, event: ChildEstablished, now: float) -> None:
        """A Child SA is established."""

    def on_child_closed(self, event: ChildClosed, now: float) -> None:
        """A Child SA is gone."""

    def on_child_failed(self, event: ChildFailed, now: float) -> None:
        """A Child SA was refused."""

    # -- answers ---------------------------------------------------------------------------------------

    def _respond(self, token: int, payloads: Sequence[Payload], now: float) -> None:
        """Answer a request; if the answer is too long for a message, refuse it."""
        try:
            self._endpoint.respond(token, payloads, now)
        except UnknownSa as error:
            self._tell("error", what="answer", detail=str(error))
        except IkeError as error:
            self._tell("error", what="answer", detail=str(error))
            self._reject(token, now)

    def _reject(self, token: int, now: float) -> None:
        """Refuse a request that was not answered yet."""
        try:
            self._endpoint.respond(token, [NotifyPayload(NotifyType.REGISTRATION_FAILED)], now)
        except IkeError:
            return  # it was answered, or its SA is gone


class Registration(Request):
    """The GSA_REGISTRATION of one group. `under_way`: the registrations over one IKE SA, one at a time for each
    group."""

    def __init__(self, under_way: dict[GroupId, Registration], group: GroupId) -> None:
        self._under_way, self.group = under_way, group

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        if self._is_waited_for():
            self.taken(payloads, now)

    def failed(self, reason: FailureReason, now: float) -> None:
        if self._is_waited_for():
            self.missed(now)

    def _is_waited_for(self) -> bool:
        waited = self._under_way.get(self.group) is self
        if waited:
            del self._under_way[self.group]
        return waited

    def taken(self, payloads: Sequence[Payload], now: float) -> None:
        """The answer."""

    def missed(self, now: float) -> None:
        """There will be no answer."""


class GroupParty(IkeParty):
    """A party with groups. `config`: of its endpoint; `holder`: keeps the revocation list; `documents`: the policy
    documents.

    Peers have names here: `_peer` gives the name of an authenticated peer that may speak with us.
    """

    patience_s = (0.0, 0.0)
    """The range in seconds for which a request for a document waits for other peers."""

    def __init__(
        self,
        identity: LocalIdentity,
        config: IkeConfig,
        random: RandomSource,
        domain: str,
        holder: ListHolder,
        documents: DocumentHolder,
        emit: Callable[[Effect], None],
        boundary: Boundary,
        interface: str = "",
    ) -> None:
        config = replace(config, upper_exchanges=EXCHANGES)
        endpoint = IkeEndpoint(
            identity, self._authenticate, random=random, config=config, auth_exchange=ExchangeType.GSA_AUTH
        )
        super().__init__(endpoint, domain, emit, boundary, interface)
        self._where = {"interface": interface} if interface else {}
        self._lists = Spread(endpoint, holder)
        self._courier = Courier(endpoint, documents, self._sa_with, self._uniform, self.patience_s, interface)
        self._random = random

    def _authenticate(
        self, claimed: Identification, credential: PeerCredential | None, peer: PeerAddress
    ) -> PeerKey | None:
        """The key of this identity, if it may speak to us from that address."""
        raise NotImplementedError

    def _peer(self, identity: Identification | None) -> str | None:
        """The name of an authenticated peer; None when it may not, or no longer, speak with us."""
        return self.router_of(identity)

    def receive(self, datagram: Datagram, now: float) -> None:
        """Handle a received datagram."""
        self._endpoint.receive(datagram, now)
        self._drain(now)

    # -- requests to us --------------------------------------------------------------------------------

    def on_auth_request(self, event: AuthRequest, now: float) -> None:
        self._respond(event.token, self._registration(event.payloads, event.peer_id, event.sa, now), now)

    def on_request(self, event: RequestReceived, now: float) -> None:
        answer: list[Payload] = []
        peer = self._peer(event.sa.peer_id)
        try:
            match event.exchange:
                case ExchangeType.GSA_REGISTRATION:
                    answer = self._registration(event.payloads, event.sa.peer_id, event.sa, now)
                case ExchangeType.GSA_INBAND_REKEY:
                    self.rekeyed(event.payloads, event.sa, now)
                case ExchangeType.INFORMATIONAL if peer is not None:
                    answer = self._lists.answer(event.payloads, peer, now)
                    answer += self._courier.answer(event.payloads, peer, now)
                    answer += self.informed(event.payloads, peer, now)
        except (IkeError, PolicyError) as error:
            self._tell("error", what="rekey", **self._where, detail=str(error))
            answer = KeyServer.reject(NotifyType.REGISTRATION_FAILED)
        self._respond(event.token, answer, now)
        if event.exchange == ExchangeType.GSA_REGISTRATION and peer is not None:
            self.registered(event.sa, peer, now)

    def _registration(
        self, payloads: Sequence[Payload], identity: Identification | None, sa: SaHandle, now: float
    ) -> list[Payload]:
        peer = self._peer(identity)
        try:
            request = KeyServer.read(payloads)
        except MalformedMessage:
            request = None
        if peer is None or request is None:
            return KeyServer.reject(NotifyType.INVALID_GROUP_ID)
        if isinstance(request, SpeakerRequest):
            return self.register_all(request, peer, sa, now)
        if request.group.domain != self._domain:
            return KeyServer.reject(NotifyType.INVALID_GROUP_ID)
        return self.register(request, peer, sa, now)

    def register(self, request: RegistrationRequest, peer: str, sa: SaHandle, now: float) -> list[Payload]:
        """The answer to a registration."""
        return KeyServer.reject(NotifyType.INVALID_GROUP_ID)

    def register_all(self, request: SpeakerRequest, peer: str, sa: SaHandle, now: float) -> list[Payload]:
        """The answer to a registration at all groups of a speaker."""
        return KeyServer.reject(NotifyType.INVALID_GROUP_ID)

    def registered(self, sa: SaHandle, peer: str, now: float) -> None:
        """An answer to a registration was sent, over an established SA."""
        self._lists.push(sa, peer, now)

    def rekeyed(self, payloads: Sequence[Payload], sa: SaHandle, now: float) -> None:
        """A key server has sent keys or policy, or deletes keys: apply them before the answer. IkeError,
        PolicyError."""

    def informed(self, payloads: Sequence[Payload], peer: str, now: float) -> list[Payload]:
        """Handle the other content of an INFORMATIONAL; the payloads that its answer adds."""
        return []

    # -- policy documents ------------------------------------------------------------------------------

    def _sa_with(self, peer: str) -> SaHandle | None:
        """An established IKE SA with this peer."""
        return next((sa for sa in self._endpoint.sas(self.party_of(peer)) if self._peer(sa.peer_id) == peer), None)

    def _uniform(self, low: float, high: float) -> float:
        return uniform(self._random, low, high)

    # -- revocation lists ------------------------------------------------------------------------------

    def _met(self, sa: SaHandle, peer: str, payloads: Sequence[Payload], now: float) -> None:
        """A peer has answered our GSA_AUTH and announced what it has."""
        self._lists.forget(peer)
        self._lists.heard(payloads, peer, now)
        self._lists.push(sa, peer, now)

    def _spread(self, now: float) -> None:
        """Send our revocation list to all peers that announced an older one."""
        for sa in self._endpoint.sas():
            peer = self._peer(sa.peer_id)
            if peer is not None:
                self._lists.push(sa, peer, now)

    def pass_on(self, now: float) -> None:
        """Send our revocation list to all peers that announced an older one."""
        self._spread(now)
        self._drain(now)
