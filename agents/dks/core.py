"""The DKS as a whole: datagrams and time in, effects out.

Authenticates every router by the key in its signed document, serves the control groups and, where policy says `issuer:
dks`, the groups' keys. It gets the ledger of generations and the documents' folder; it knows no socket or clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.dks.carried import Carried
from agents.dks.documents import Documents
from agents.dks.groups import Groups
from agents.dks.metrics import DksCounts, ailments
from agents.dks.received_confirmations import Confirmations, Look, TooOften
from agents.dks.revocation import DksRevocations
from agents.dks.store import GenerationLedger
from agents.gikev2 import KeyServer, RegistrationRequest, notifies
from agents.gikev2.party import GroupParty
from agents.ikev2 import (
    Closed,
    Established,
    Identification,
    IkeConfig,
    IkeError,
    LocalIdentity,
    MalformedMessage,
    MessageSeen,
    NotifyPayload,
    Payload,
    PeerAddress,
    PeerCredential,
    PeerKey,
    Request,
    Retransmission,
    SaHandle,
    UnsupportedAlgorithm,
)
from agents.ikev2.config import Offer, offers, shortfall
from agents.ikev2.registry import ExchangeType, NotifyType, exchange_name
from agents.policy.document import PolicyDocument
from agents.policy.errors import PolicyError
from agents.policy.group import claimed_group, verify_group_state
from agents.policy.keys import public_key_from_spki
from agents.policy.names import GroupId, party_id
from agents.runtime.boundary import Boundary
from agents.runtime.control import CommandRefused
from agents.runtime.effects import Effect, Event, Kernel, in_order
from agents.runtime.links import LinkState
from agents.runtime.metrics import Family, build, counter, gauge, page
from agents.runtime.pace import TokenBucket

POLL_S = 2.0
MAX_REPORTS = 64
MOST_ROUTERS = 2000
"""With more routers, metrics have no samples of single routers."""
MAX_ORDERS = 32
"""The most states in one message, which has 64 payloads at most."""
EXCHANGES = frozenset({ExchangeType.GSA_REGISTRATION, ExchangeType.GSA_INBAND_REKEY, ExchangeType.INFORMATIONAL})
Poll = Callable[[], Iterable[PolicyDocument]]
PollList = Callable[[], bytes | None]


class PushDocument(Request):
    """A router's new document, over the IKE SA that it registered with."""

    def __init__(self, dks: DksCore, document: PolicyDocument, signed: bytes) -> None:
        super().__init__([notifies.policy_document(signed)])
        self._dks, self._document = dks, document

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        self._dks.pushed(self._document)


class DksCore(GroupParty):
    """One DKS. `poll`: reads new documents into `documents` and returns them; `poll_list`: the signed revocation list
    to put in force, if there is one. Both are called every `poll_s`."""

    def __init__(
        self,
        private_key: Ed25519PrivateKey,
        documents: Documents,
        ledger: GenerationLedger,
        *,
        domain: str,
        name: str,
        random: Callable[[int], bytes],
        poll: Poll | None = None,
        poll_list: PollList | None = None,
        confirmed: Mapping[str, bytes] | None = None,
        look: Look | None = None,
        share: tuple[int, int] = (0, 1),
        rate: float = 500.0,
        burst: int = 2000,
        poll_s: float = POLL_S,
        log_keys: bool = False,
    ) -> None:
        """`confirmed`: the routers' confirmations that were kept.

        `share`: the number of this process, and of all that share documents, ledger, list and confirmations (`look`)
        and divide the routers among them. `rate`, `burst`: registrations that all of them serve in a second, and at
        once. PolicyError when all documents require something that this machine cannot do.
        """
        self._bucket = TokenBucket(rate / share[1], max(1, burst // share[1]))
        self._metrics = DksCounts()
        self._effects: list[Effect] = []
        self._documents, self._ledger, self._poll, self._name = documents, ledger, poll, name
        self._poll_list, self._poll_s = poll_list, poll_s
        self._agreed = documents.post_quantum
        config = IkeConfig(
            offers=_offers(documents),
            retransmission=Retransmission(first_s=0.5, factor=1.8, cap_s=4.0, tries=8),
            max_sas_per_peer=2,
            max_half_open=20_000,
            cookie_threshold=200,
            log_keys=log_keys,
            spi_share=share,
        )
        emit = self._effects.append
        identity = LocalIdentity(Identification.key_id(party_id(domain, name)), private_key)
        self._revocation = DksRevocations(documents, ledger, emit, self._revoked)
        self._control: dict[str, SaHandle] = {}
        self._carried = Carried(documents, self._control, self._bucket, emit)
        super().__init__(identity, config, random, domain, self._revocation, self._carried, emit, Boundary(self._event))
        self._groups = Groups(self._endpoint, documents, ledger, private_key, random, emit, emit, alone=share[1] == 1)
        self._confirmations = Confirmations(domain, documents, confirmed or {}, emit, look)
        self._poll_at: float | None = None

    def _event(self, kind: str, **fields: object) -> None:
        self._effects.append(Event(kind, fields))

    def _authenticate(
        self, claimed: Identification, credential: PeerCredential | None, peer: PeerAddress
    ) -> PeerKey | None:
        router = self.router_of(claimed)
        document = self._documents.of(router) if router is not None else None
        return PeerKey.from_spki(document.identity) if document is not None else None

    # -- input ---------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Start."""
        self._event("started", documents=len(self._documents))
        self._tell_shortfall()
        self._poll_at = now + self._poll_s if self._poll is not None or self._poll_list is not None else None
        self._look_for_list(now)

    def links(self, states: Mapping[str, LinkState], now: float) -> None:
        """The DKS does not use the interfaces."""

    def enforced(self, kernel: Kernel | None, now: float) -> None:
        """The DKS protects no packets itself."""

    def tick(self, now: float) -> None:
        """Do all actions that are due."""
        if self._poll_at is not None and self._poll_at <= now:
            self._poll_at = now + self._poll_s
            # Before documents: revoked routers must get none.
            self.boundary.run("revocation list", lambda: self._look_for_list(now))
            self.boundary.run("documents", lambda: self._look_for_documents(now))
            self.boundary.run("ledger", self._ledger.write_down)
        self.boundary.timer("groups", lambda: self._groups.tick(now), now)
        self.boundary.timer(self._courier, lambda: self._courier.tick(now), now)
        self._endpoint.tick(now)
        self._drops.tick(now)
        self._drain(now)

    def _look_for_documents(self, now: float) -> None:
        fresh = list(self._poll()) if self._poll is not None else []
        if fresh:
            self.boundary.run("key exchange", lambda: self._agree(now))
        for document in fresh:
            self.boundary.run("document", lambda document=document: self._changed(document, now))  # type: ignore[misc]

    def _agree(self, now: float) -> None:
        """Use the key exchange that the documents ask for. A DKS that cannot continues as before, and reports it."""
        asked, before = self._documents.post_quantum, self._agreed
        if asked is before:
            return
        try:
            self.agree(asked, now)
        except UnsupportedAlgorithm as error:
            self._event("error", what="key_exchange", detail=str(error))
            return
        self._agreed = asked
        self._tell_shortfall()

    def _tell_shortfall(self) -> None:
        detail = shortfall(self._agreed)
        if detail is not None:
            self._event("error", what="key_exchange", detail=detail)

    def stop(self, now: float) -> None:
        """Nothing is written only at an orderly end."""

    def next_timer(self) -> float | None:
        """When something is due."""
        groups = self.boundary.due("groups", self._groups.next_timer())
        documents = self.boundary.due(self._courier, self._courier.next_timer())
        timers = (self._poll_at, groups, documents, self._endpoint.next_timer(), self._drops.next_timer())
        return min((time for time in timers if time is not None), default=None)

    def command(self, words: Sequence[str], now: float) -> Mapping[str, Any]:
        """`status`, `metrics`, `confirmations`, and `rekey ROUTER [INTERFACE...]`. CommandRefused."""
        return self.boundary.command(lambda: self._command(words, now))

    def _command(self, words: Sequence[str], now: float) -> Mapping[str, Any]:
        match list(words):
            case ["status"]:
                self._confirmations.look()
                return {
                    "name": self._name,
                    "domain": self._domain,
                    "routers": len(self._documents),
                    "connected": sorted(self._control),
                    "not_connected": [each for each in self._documents.routers() if each not in self._control],
                    "revocation_version": self._revocation.version,
                    "ike_sas": len(self._endpoint.sas()),
                    "half_open": self._endpoint.half_open,
                    "groups": self._groups.status(),
                    "confirmed": dict(zip(("complete", "of"), self._confirmations.count(), strict=True)),
                }
            case ["rekey", router, *interfaces]:
                return {"ordered": [str(group) for group in self._rekey(router, interfaces, now)]}
            case ["confirmations"]:
                self._confirmations.look()
                return {"domain": self._domain, "routers": self._confirmations.status()}
            case ["metrics"]:
                return {"text": page(self._families())}
            case _:
                raise CommandRefused(f"unknown command: {' '.join(words) or 'none'}")

    def families(self, now: float) -> list[Family]:
        """As Core.families."""
        return self.boundary.command(self._families)

    def _families(self) -> list[Family]:
        complete, of = self._confirmations.count()
        spent = self._ledger.spent
        return [
            build("dks"),
            gauge("dks_documents", "Routers that have a signed document.", len(self._documents)),
            gauge("dks_connected_routers", "Routers registered at their control group.", len(self._control)),
            gauge("dks_ike_sas", "Established IKE SAs.", len(self._endpoint.sas())),
            gauge("dks_half_open", "Unfinished handshakes that routers began.", self._endpoint.half_open),
            gauge("dks_groups", "Groups whose keys are made here.", len(self._groups)),
            gauge("dks_revocation_version", "Version of the revocation list in force.", self._revocation.version),
            gauge("dks_confirmations_missing", "Routers that have not confirmed all of their document.", of - complete),
            counter("dks_transaction_seconds_total", "Time in the ledger's transactions.", spent.seconds),
            counter("dks_transactions_total", "The ledger's transactions.", spent.count),
            *self._by_router(),
            *self._metrics.families(),
        ]

    def _by_router(self) -> Iterator[Family]:
        names = self._documents.routers()
        if len(names) > MOST_ROUTERS:
            return
        documents = [(name, document) for name in names if (document := self._documents.of(name)) is not None]
        yield Family(
            "dks_router_document_version", "gauge", "Version of a router's document.",
            [({"router": name}, document.version) for name, document in documents],
        )  # fmt: skip
        yield Family(
            "dks_router_list_version", "gauge", "Version of the revocation list that a router has announced.",
            [({"router": name}, self._lists.shown_by(name)) for name, _document in documents],
        )  # fmt: skip

    def ailments(self, now: float) -> list[str]:
        """As Core.ailments."""
        return ailments(len(self._documents))

    def take(self) -> list[Effect]:
        """The effects since the last call."""
        if not self._effects:
            return []
        effects, self._effects[:] = list(self._effects), []
        for effect in effects:
            if isinstance(effect, Event):
                self._metrics.observe(effect)
        return in_order(effects)

    def _rekey(self, router: str, interfaces: Sequence[str], now: float) -> list[GroupId]:
        """New generations of a router's groups: made here, or ordered from its LKS (REKEY_ORDER). CommandRefused."""
        document = self._documents.of(router)
        if document is None:
            raise CommandRefused(f"there is no router {router!r}")
        groups = [each for each in document.own_groups() if not interfaces or each.interface in interfaces]
        unknown = sorted({*interfaces} - {each.interface for each in groups})
        if unknown or not groups:
            raise CommandRefused(f"{router} has no groups on {', '.join(unknown) or 'any interface'}")
        if document.local_key_server:
            sa = self._control.get(router)
            if sa is None:
                raise CommandRefused(f"{router} is not connected; on the router itself: lks rekey")
            orders = [notifies.rekey_order(each) for each in groups]
            for first in range(0, len(orders), MAX_ORDERS):
                self._endpoint.request(sa, ExchangeType.INFORMATIONAL, Request(orders[first : first + MAX_ORDERS]), now)
        elif not self._groups.alone:
            raise CommandRefused(f"{router} has no local_key_server: its keys are made by a DKS with workers = 1")
        else:
            for each in groups:
                self._groups.rekey(each, now, "command")
        self._drain(now)
        return groups

    # -- policy --------------------------------------------------------------------------------------

    def _changed(self, document: PolicyDocument, now: float) -> None:
        """Push a new document to its router, if it is connected (RFC 9838 §2.4.2)."""
        self._event("policy", router=document.router, version=document.version)
        self._endpoint.review(now, self.party_of(document.router))
        sa, signed = self._control.get(document.router), self._documents.signed(document.router)
        if sa is not None and signed is not None:
            try:
                push = PushDocument(self, document, signed)
                self._endpoint.request(sa, ExchangeType.GSA_INBAND_REKEY, push, now)
            except IkeError:
                del self._control[document.router]
        elif signed is not None:
            self._tell_carriers(document.router, now)
        self._groups.policy_changed(document.router, now)

    def pushed(self, document: PolicyDocument) -> None:
        """A router has acknowledged a document that we pushed."""
        self._carried.brought(document.router, document.version)

    def _tell_carriers(self, router: str, now: float) -> None:
        """We cannot deliver this router its document: announce it to the routers that carry it."""
        if router not in self._control and self._carried.lacks(router):
            self._courier.news([router], self._carried.carriers(router), now)

    # -- removal -------------------------------------------------------------------------------------

    def _look_for_list(self, now: float) -> None:
        self._revocation.keep_again()
        # Another process of this DKS may have written one. A damaged ledger hides no list in the folder.
        self.boundary.run("ledger", lambda: self._revocation.look(self._ledger.revocation(), "ledger", now))
        if self._poll_list is not None:
            self._revocation.look(self._poll_list(), "folder", now)

    def _revoked(self, now: float) -> None:
        """A newer list: the revoked routers lose their IKE SAs and every group's next generation; all others get the
        list."""
        self._endpoint.review(now)
        for document in self._documents.revoked():
            for group in (*document.own_groups(), *(group for _i, _n, group in document.neighbor_groups())):
                self.boundary.run("rekey", lambda group=group: self._groups.rekey(group, now, "revocation"))  # type: ignore[misc]
        self._spread(now)

    # -- events --------------------------------------------------------------------------------------

    def on_seen(self, event: MessageSeen, now: float) -> None:
        if event.request:
            exchange = exchange_name(event.exchange)
            self._event("request", exchange=exchange, peer=event.peer.ip, retransmission=event.retransmission)

    def on_established(self, event: Established, now: float) -> None:
        router = self.router_of(event.peer_id)
        self._event("ike", peer=router, role="responder", state="established")
        if router is not None:
            self._lists.push(event.sa, router, now)

    def on_closed(self, event: Closed, now: float) -> None:
        peer = self.router_of(event.sa.peer_id)
        if peer is not None and self._control.get(peer) is event.sa:
            del self._control[peer]
            self._tell_carriers(peer, now)
        self._event("ike", peer=peer, role="responder", state=event.reason.name.lower())
        self._groups.forget(event.sa, now)

    # -- requests to us ------------------------------------------------------------------------------

    def register(self, request: RegistrationRequest, peer: str, sa: SaHandle, now: float) -> list[Payload]:
        if not request.leaving and not self._bucket.take(now):
            wait_s = self._bucket.wait_s(now)
            self._event("paced", peer=peer, group=str(request.group), wait_s=wait_s)
            return [*KeyServer.reject(NotifyType.REGISTRATION_FAILED), notifies.reconnect_hint(wait_s)]
        if request.group.is_control:
            return self._policy(request, peer, sa, now)
        return self._groups.register(request, peer, sa, now)

    def informed(self, payloads: Sequence[Payload], peer: str, now: float) -> list[Payload]:
        self._reported(payloads, peer)
        return self._confirmed(payloads, peer, now)

    def _policy(self, request: RegistrationRequest, router: str, sa: SaHandle, now: float) -> list[Payload]:
        """A router's own control group: its policy goes down, its reports go up."""
        signed = self._documents.signed(router)
        if request.group.router != router or signed is None:
            return KeyServer.reject(NotifyType.AUTHORIZATION_FAILED)
        self._control[router] = sa
        self._reported(request.payloads, router)
        self._confirmed(request.payloads, router, None)
        self._event("registered", peer=router, group=str(request.group), generation=0)
        self._lists.forget(router)
        self._carried.brought(router, self._carried.version(router))
        greeting = [*self._lists.greet(request.payloads, router, now), *self._courier.show(router)]
        return KeyServer.control_answer(signed, greeting)

    def _confirmed(self, payloads: Sequence[Payload], router: str, now: float | None) -> list[Payload]:
        """A router's confirmation, with a registration or by itself."""
        try:
            signed = notifies.find_confirmation(payloads)
            if signed is None:
                return []
            said = self._confirmations.take(signed, router, now)
        except TooOften:
            return [NotifyPayload(NotifyType.TEMPORARY_FAILURE)]
        except (PolicyError, MalformedMessage) as error:
            self._event("error", what="confirmation", peer=router, detail=str(error))
            return []
        if said is not None:
            self._event("confirmed", peer=router, version=said.version)
        return []

    def _reported(self, payloads: Sequence[Payload], router: str) -> None:
        """All reports of a message are in the ledger with one transaction."""
        reports = notifies.find_group_reports(payloads)[:MAX_REPORTS]
        document = self._documents.of(router) if reports else None
        if document is None:
            return
        said = []
        for signed in reports:
            try:
                said.append(self._verified_report(signed, document))
            except PolicyError as error:
                self._event("error", what="report", peer=router, detail=str(error))
        for group, _version, generation in self._ledger.all_reported(said, document.identity):
            self._event("reported", peer=router, group=str(group), generation=generation)

    def _verified_report(self, signed: bytes, document: PolicyDocument) -> tuple[GroupId, int, int]:
        """A router's report of its own group's generation. PolicyError."""
        group = claimed_group(signed)
        if group.domain != self._domain or group.router != document.router:
            raise PolicyError(f"{document.router} may not report {group}")
        state = verify_group_state(signed, public_key_from_spki(document.identity), group)
        self._ledger.check_believable(group, state.v, state.g, document.identity, document.version)
        return group, state.v, state.g


def _offers(documents: Documents) -> tuple[Offer, ...]:
    """PolicyError when this machine cannot do something that all documents require."""
    try:
        return offers(documents.post_quantum)
    except UnsupportedAlgorithm as error:
        raise PolicyError(str(error)) from error
