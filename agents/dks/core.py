"""The DKS without sockets or clocks: datagrams and time in, effects out.

Every router is known by its signed policy document: its name and its key. A router gets its own document (control
group), and keys of its own and its neighbours' groups when the document says that the DKS issues them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.dks.book import Book
from agents.dks.groups import Groups
from agents.dks.pace import TokenBucket
from agents.gikev2 import notifies
from agents.gikev2.errors import UnusableGroup
from agents.gikev2.server import KeyServer, RegistrationRequest
from agents.ikev2 import (
    AuthRequest,
    Closed,
    Datagram,
    Dropped,
    Established,
    Identification,
    IkeConfig,
    IkeEndpoint,
    LocalIdentity,
    MalformedMessage,
    MessageSeen,
    Payload,
    PeerAddress,
    PeerCredential,
    PeerKey,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    UnknownSa,
)  # fmt: skip
from agents.ikev2 import Send as IkeSend
from agents.ikev2.handle import SaHandle
from agents.ikev2.registry import ExchangeType, NotifyType
from agents.policy.document import PolicyDocument
from agents.policy.errors import PolicyError
from agents.policy.group import claimed_group, verify_group_state
from agents.policy.keys import public_key_from_spki
from agents.policy.names import DKS_NAME, GroupId, parse_party_id, party_id
from agents.runtime.effects import Effect, Event, Send
from agents.runtime.links import LinkState

Documents = Mapping[str, tuple[bytes, PolicyDocument]]
MAX_REPORTS = 256


class DomainKeyServer:
    """`documents`: by router, the signed octets and what they say, verified. `records`: the files of its state."""

    def __init__(
        self,
        domain: str,
        key: Ed25519PrivateKey,
        documents: Documents,
        records: Mapping[str, bytes],
        *,
        random: Callable[[int], bytes],
        rate: int = 200,
        burst: int = 1000,
        config: IkeConfig | None = None,
    ) -> None:
        """CorruptRecord when the book is damaged: it then must not make keys."""
        self._domain = domain
        self._documents = dict(documents)
        self._effects: list[Effect] = []
        self._bucket = TokenBucket(rate, burst)
        self._book = Book(records, self._effects.append)
        self._endpoint = IkeEndpoint(
            LocalIdentity(Identification.key_id(party_id(domain, DKS_NAME)), key),
            self._authenticate,
            random=random,
            config=config or IkeConfig(),
            auth_exchange=ExchangeType.GSA_AUTH,
        )
        self._groups = Groups(self._endpoint, self._book, key, random, self._rekeyed)
        self._routers: dict[SaHandle, str] = {}

    # -- what drives it

    def start(self, now: float) -> None:
        """Say that it runs."""
        self._event("started", routers=len(self._documents))

    def links(self, found: Mapping[str, LinkState], now: float) -> None:
        """Interfaces do not matter to the DKS."""

    def receive(self, datagram: Datagram, now: float) -> None:
        """A datagram came."""
        self._endpoint.receive(datagram, now)
        self._serve(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._endpoint.tick(now)
        self._groups.tick(self._document, now)
        self._serve(now)

    def next_timer(self) -> float | None:
        """When `tick` must be called next."""
        times = [time for time in (self._endpoint.next_timer(), self._groups.next_timer()) if time is not None]
        return min(times, default=None)

    def take(self) -> list[Effect]:
        """The effects since the last call."""
        effects, self._effects[:] = list(self._effects), []
        return effects

    def publish(self, documents: Documents, now: float) -> None:
        """New documents from the Policy Server: each connected router whose version went up gets its own at once."""
        for router, (signed, document) in documents.items():
            known = self._documents.get(router)
            if known is not None and known[1].version >= document.version:
                continue
            self._documents[router] = (signed, document)
            for sa in [sa for sa, name in self._routers.items() if name == router]:
                self._endpoint.request(sa, ExchangeType.GSA_INBAND_REKEY, [notifies.policy_document(signed)], now)
        self._serve(now)

    # -- IKE

    def _authenticate(
        self, identity: Identification, credential: PeerCredential | None, peer: PeerAddress
    ) -> PeerKey | None:
        try:
            domain, router = parse_party_id(identity.data)
        except PolicyError:
            return None
        document = self._document(router)
        if domain != self._domain or document is None:
            return None
        return PeerKey.from_spki(document.identity)

    def _document(self, router: str) -> PolicyDocument | None:
        known = self._documents.get(router)
        return known[1] if known else None

    def _serve(self, now: float) -> None:
        """Handle what the endpoint gives until it gives no more."""
        while given := self._endpoint.take():
            for item in given:
                self._handle(item, now)

    def _handle(self, item: object, now: float) -> None:
        match item:
            case IkeSend():
                self._effects.append(Send(item.data, item.peer, item.retransmission))
            case MessageSeen(request=True):
                name = ExchangeType(item.exchange).name if item.exchange in set(ExchangeType) else str(item.exchange)
                self._event("request", exchange=name, peer=item.peer.ip, retransmission=item.retransmission)
            case AuthRequest():
                self._routers[item.sa] = parse_party_id(item.peer_id.data)[1]
                self._answer(item.token, item.sa, item.payloads, now)
            case RequestReceived(exchange=ExchangeType.GSA_REGISTRATION):
                self._answer(item.token, item.sa, item.payloads, now)
            case RequestReceived():
                self._respond(item.token, [], now)
            case Established():
                self._event("established", peer=self._routers.get(item.sa, ""))
            case ResponseReceived() | RequestFailed():
                self._groups.answered(item.sa, item.request_id, now)
            case Closed():
                self._groups.closed(item.sa)
                if router := self._routers.pop(item.sa, None):
                    self._event("closed", peer=router, reason=item.reason.value)
            case Dropped():
                self._event("dropped", reason=item.reason, peer=item.peer.ip)
            case _:
                pass

    def _answer(self, token: int, sa: SaHandle, payloads: Sequence[Payload], now: float) -> None:
        router = self._routers[sa]
        try:
            request = KeyServer.read(payloads)
            answer = self._registration(request, router, sa, now)
        except (MalformedMessage, PolicyError):
            answer = KeyServer.refuse(NotifyType.INVALID_GROUP_ID)
        except UnusableGroup:
            answer = KeyServer.refuse(NotifyType.AUTHORIZATION_FAILED)
        self._respond(token, answer, now)

    def _respond(self, token: int, payloads: list[Payload], now: float) -> None:
        with contextlib.suppress(UnknownSa):  # it may have been closed while its request was handled
            self._endpoint.respond(token, payloads, now)

    def _registration(
        self, request: RegistrationRequest | None, router: str, sa: SaHandle, now: float
    ) -> list[Payload]:
        """The answer to one registration (RFC 9838 §2.3)."""
        if request is None:
            return KeyServer.refuse(NotifyType.INVALID_GROUP_ID)
        if request.leaving:
            self._groups.leave(request.group, router)
            return []
        if not self._bucket.take(now):
            wait = notifies.reconnect_hint(self._bucket.wait_s(now))
            return [*KeyServer.refuse(NotifyType.REGISTRATION_FAILED), wait]
        if request.group == GroupId.control(self._domain, router):
            self._take_reports(request.payloads, router)
            self._event("registered", peer=router, group=str(request.group), generation=0)
            return KeyServer.control_answer(self._documents[router][0])
        return self._group_keys(request, router, sa, now)

    def _group_keys(self, request: RegistrationRequest, router: str, sa: SaHandle, now: float) -> list[Payload]:
        group = request.group
        document = self._document(group.router)
        if document is None or group not in document.own_groups():
            return KeyServer.refuse(NotifyType.INVALID_GROUP_ID)
        entitled = router == group.router or document.may_join(group, router) is not None
        if document.issuer != "dks" or not entitled or (request.sender and router != group.router):
            return KeyServer.refuse(NotifyType.AUTHORIZATION_FAILED)
        if not request.supports(document.suite):
            return KeyServer.refuse(NotifyType.NO_PROPOSAL_CHOSEN)
        keys = self._groups.join(document, group, router, sa, now)
        self._event("registered", peer=router, group=str(group), generation=keys.generation)
        return KeyServer.answer(keys, router, sa.key_wrap_key())

    def _take_reports(self, payloads: Sequence[Payload], router: str) -> None:
        """What the router's LKS did while it was alone: the book goes on above it."""
        document = self._documents[router][1]
        for signed in notifies.find_group_reports(payloads)[:MAX_REPORTS]:
            try:
                group = claimed_group(signed)
                if group not in document.own_groups():
                    raise PolicyError(f"{group} is not a group of {router}")
                state = verify_group_state(signed, public_key_from_spki(document.identity), group)
            except PolicyError as error:
                self._event("error", what="report", peer=router, detail=str(error))
                continue
            self._book.seen(group, state.g)
            self._event("report", peer=router, group=str(group), generation=state.g)

    # -- events

    def _rekeyed(self, group: GroupId, generation: int) -> None:
        self._event("rekeyed", group=str(group), generation=generation)

    def _event(self, kind: str, **fields: object) -> None:
        self._effects.append(Event(kind, fields))
