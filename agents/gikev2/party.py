"""One party of IKE exchanges above its endpoint: what the LKS on a link, its relation to the DKS, its pairs and the DKS
have in common.

An endpoint's effects are drained here, and every event is dispatched here and nowhere else, each behind the fault
boundary: what is raised for one closes its IKE SA at most, and a request is answered all the same.

    datagram, timer, command → endpoint → drain → Request.answered, Request.failed, on_established, on_closed,
    on_auth_request, on_request, on_child_established, on_child_closed, on_child_failed, on_seen

Knows nothing of what any of them means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agents.ikev2 import (
    AuthRequest,
    ChildClosed,
    ChildEstablished,
    ChildFailed,
    Closed,
    Dropped,
    Established,
    Identification,
    IkeEndpoint,
    IkeError,
    KeysDerived,
    MessageSeen,
    NotifyPayload,
    Payload,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    Send,
    UnknownSa,
)
from agents.ikev2 import Event as IkeEvent
from agents.ikev2.events import Faulted
from agents.ikev2.registry import NotifyType
from agents.policy.errors import PolicyError
from agents.policy.names import parse_party_id, party_id
from agents.runtime.boundary import Boundary
from agents.runtime.drops import Drops
from agents.runtime.effects import Effect, Event, KeyLines
from agents.runtime.effects import Send as SendEffect


class IkeParty:
    """`domain`: the one whose routers may speak to it; `emit`: takes its effects; `place`: its interface, for the
    record."""

    def __init__(
        self, endpoint: IkeEndpoint, domain: str, emit: Callable[[Effect], None], boundary: Boundary, place: str = ""
    ) -> None:
        self._endpoint, self._emit, self.boundary = endpoint, emit, boundary
        self._party_domain = domain
        self._drops = Drops(self._tell, place)

    def _tell(self, kind: str, **fields: object) -> None:
        self._emit(Event(kind, fields))

    # -- who it is -------------------------------------------------------------------------------------

    def party_of(self, router: str) -> Identification:
        """The IKE identity of a router or the DKS of our domain."""
        return Identification.key_id(party_id(self._party_domain, router))

    def router_of(self, identity: Identification | None) -> str | None:
        """The router of our domain that has this identity, if it is one's at all."""
        if identity is None:
            return None
        try:
            domain, router = parse_party_id(identity.data)
        except PolicyError:
            return None
        return router if domain == self._party_domain else None

    # -- what the endpoint gives -----------------------------------------------------------------------

    def _drain(self, now: float) -> None:
        """Send what is to be sent, and act on what has happened, in order."""
        while effects := self._endpoint.take():
            for effect in effects:
                if isinstance(effect, Send):
                    if self._may_send():
                        self._emit(SendEffect(effect.data, effect.peer, effect.retransmission))
                else:
                    self._guarded(effect, now)

    def _may_send(self) -> bool:
        """Whether datagrams go out now."""
        return True

    def _guarded(self, event: IkeEvent, now: float) -> None:
        try:
            self._dispatch(event, now)
        except Exception as error:
            self.boundary.fault(type(event).__name__, error)
            if isinstance(event, AuthRequest | RequestReceived):
                self._refuse(event.token, now)
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
                self.on_closed(event, now)
            case ChildEstablished():
                self.on_child_established(event, now)
            case ChildClosed():
                self.on_child_closed(event, now)
            case ChildFailed():
                self.on_child_failed(event, now)

    def on_seen(self, event: MessageSeen, now: float) -> None:
        """A message came in that was not dropped."""

    def on_auth_request(self, event: AuthRequest, now: float) -> None:
        """A peer has authenticated itself with GSA_AUTH and is to be answered."""

    def on_request(self, event: RequestReceived, now: float) -> None:
        """A request over an SA that stands is to be answered."""

    def on_established(self, event: Established, now: float) -> None:
        """An IKE SA stands."""

    def on_closed(self, event: Closed, now: float) -> None:
        """An IKE SA is gone."""

    def on_child_established(self, event: ChildEstablished, now: float) -> None:
        """A Child SA stands."""

    def on_child_closed(self, event: ChildClosed, now: float) -> None:
        """A Child SA is gone."""

    def on_child_failed(self, event: ChildFailed, now: float) -> None:
        """A Child SA was refused."""

    # -- answers ---------------------------------------------------------------------------------------

    def _respond(self, token: int, payloads: Sequence[Payload], now: float) -> None:
        """Answer a request; one whose answer cannot be carried is refused."""
        try:
            self._endpoint.respond(token, payloads, now)
        except UnknownSa as error:
            self._tell("error", what="answer", detail=str(error))
        except IkeError as error:
            self._tell("error", what="answer", detail=str(error))
            self._refuse(token, now)

    def _refuse(self, token: int, now: float) -> None:
        """Answer that nothing comes of a request, if it was not answered yet."""
        try:
            self._endpoint.respond(token, [NotifyPayload(NotifyType.REGISTRATION_FAILED)], now)
        except IkeError:
            return  # it was answered, or its SA is gone
