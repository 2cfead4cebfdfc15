"""The exchange of signed policy documents between parties: each party announces the documents it can give, and a party
that lacks one asks for it.

A router announces all its documents some tenths of a second after an IKE SA is established, and new ones later. A DKS
announces the documents that it could not deliver to its router. A party asks each peer for one document at a time, in
an INFORMATIONAL exchange of its own: keys and a document may not fit into one message. An announcement is not signed; a
false one costs no more than a request. The notifications are private; a peer without them ignores them. Knows nothing
of a document's content, nor of who may have it: the holder decides.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agents.gikev2 import notifies
from agents.gikev2.notifies import Held, WantedDocument
from agents.ikev2 import FailureReason, IkeEndpoint, MalformedMessage, Payload, Request, SaHandle, UnknownSa
from agents.ikev2.codec.payloads import first_error
from agents.ikev2.registry import ExchangeType
from agents.runtime.pace import TokenBucket

GREET_S = 0.3
"""Delay from the establishment of an IKE SA to the first announcement: keys come first."""
NEWS_S = 0.02
"""How long an announcement waits for further documents."""
AGAIN_S = 1.0
"""When a document is requested again after another peer was asked for it."""
ASKS_IN_A_SECOND, ASKS_AT_ONCE = 4.0, 32
"""The rate and the burst of our requests to one peer: a false peer could announce documents without end."""
MOST_SHOWN = 2 * notifies.MAX_HELD
"""The most announced documents of one peer that are remembered."""
LONGEST_WAIT_S = 3600


class DocumentHolder(Protocol):
    """A party's documents, and the documents that it lacks."""

    @property
    def asked_for(self) -> set[str]:
        """The routers whose documents are being requested now."""

    def held(self, peer: str) -> Sequence[Held]:
        """The documents that may be announced to this peer."""

    def wants(self, entry: Held) -> bool:
        """True if an announced document is wanted."""

    def version(self, router: str) -> int:
        """The version of this router's document here; 0 without one."""

    def given(self, wanted: WantedDocument, peer: str, now: float) -> bytes | int | None:
        """The document for this peer, or the seconds after which it may ask again; None when there is none for it."""

    def held_by_peer(self, entry: Held, now: float) -> None:
        """A peer can give this document."""

    def offer(self, signed: bytes, asked: Held, source: str, now: float) -> None:
        """Accept this document if it is newer and correctly signed; record any error."""

    def missed(self, asked: Held, source: str, now: float) -> None:
        """A peer announced a wanted document, and did not give it."""

    def doubt(self, source: str, what: str) -> None:
        """Record an error of this peer's documents."""


@dataclass(slots=True)
class _Peer:
    """`entries`: documents that it can give; `rejected`: versions that it did not give, or that were invalid; `news`:
    routers whose documents are new for it."""

    pace: TokenBucket = field(default_factory=lambda: TokenBucket(ASKS_IN_A_SECOND, ASKS_AT_ONCE))
    entries: dict[str, Held] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    news: set[str] = field(default_factory=set)
    asked: AskDocument | None = None
    greet_at: float = math.inf
    news_at: float = math.inf
    ask_at: float = math.inf

    @property
    def idle(self) -> bool:
        """True if nothing is known of it."""
        return not self.entries and self.asked is None and self.due == math.inf

    @property
    def due(self) -> float:
        """The time of the next action."""
        return min(self.greet_at, self.news_at, self.ask_at)

    def remember(self, entry: Held) -> None:
        self.entries.pop(entry.router, None)
        self.entries[entry.router] = entry
        if len(self.entries) > MOST_SHOWN:
            gone = next(iter(self.entries))
            del self.entries[gone]
            self.rejected.pop(gone, None)


class AskDocument(Request):
    """Requests a document that this peer has announced."""

    def __init__(self, courier: Courier, peer: str, wanted: Held) -> None:
        self._courier, self._peer, self.wanted = courier, peer, wanted

    def payloads(self) -> Sequence[Payload] | None:
        question = self._courier.question(self.wanted)
        if question is None:
            self._courier.ended(self, self._peer)
        return question

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        self._courier.answered(self, self._peer, payloads, now)

    def failed(self, reason: FailureReason, now: float) -> None:
        self._courier.ended(self, self._peer)


class ShowDocuments(Request):
    """Announces our documents. The answer to a full announcement holds the peer's."""

    def __init__(self, courier: Courier, peer: str, payloads: Sequence[Payload]) -> None:
        super().__init__(payloads)
        self._courier, self._peer = courier, peer

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        self._courier.heard(payloads, self._peer, now)


class Courier:
    """The couriers of all peers of one endpoint, by authenticated names. `sa_of`: an established IKE SA with a peer;
    `patience`: the range in seconds, drawn by `uniform`, for which a request waits for other peers to give the
    document; `interface`: for the record."""

    def __init__(
        self,
        endpoint: IkeEndpoint,
        holder: DocumentHolder,
        sa_of: Callable[[str], SaHandle | None],
        uniform: Callable[[float, float], float],
        patience: tuple[float, float] = (0.0, 0.0),
        interface: str = "",
    ) -> None:
        self._endpoint, self.holder, self._sa_of, self._interface = endpoint, holder, sa_of, interface
        self._uniform, self._patience = uniform, patience
        self._peers: dict[str, _Peer] = {}

    def __str__(self) -> str:
        return f"documents {self._interface}".rstrip()

    def _peer(self, name: str) -> _Peer:
        return self._peers.setdefault(name, _Peer())

    # -- showing ---------------------------------------------------------------------------------------

    def met(self, name: str, now: float, *, first: bool) -> None:
        """An IKE SA with this peer is established. `first`: our side announces first."""
        peer = self._peer(name)
        peer.rejected.clear()
        self._give_up(peer)
        if first:
            peer.greet_at = now + GREET_S

    def news(self, routers: Iterable[str], peers: Iterable[str], now: float) -> None:
        """The documents of these routers are new here: announce them to these peers."""
        routers = set(routers)
        for name in peers:
            peer = self._peer(name)
            peer.news |= routers
            peer.news_at = min(peer.news_at, now + NEWS_S)

    def show(self, peer: str) -> list[Payload]:
        """The announcement for this peer, in at most one payload; empty without documents."""
        held = self.holder.held(peer)
        return [notifies.documents_held(held, whole=False)] if held else []

    def _greet(self, name: str, peer: _Peer, now: float) -> None:
        peer.greet_at = math.inf
        peer.news.clear()
        self._send(name, ShowDocuments(self, name, [notifies.documents_held(self.holder.held(name), whole=True)]), now)

    def _tell(self, name: str, peer: _Peer, now: float) -> None:
        peer.news_at = math.inf
        news, peer.news = peer.news, set()
        fresh = [each for each in self.holder.held(name) if each.router in news and not self._known(peer, each)]
        if fresh:
            self._send(name, ShowDocuments(self, name, [notifies.documents_held(fresh, whole=False)]), now)

    @staticmethod
    def _known(peer: _Peer, entry: Held) -> bool:
        known = peer.entries.get(entry.router)
        return known is not None and (known.version, known.handed) >= (entry.version, entry.handed)

    def _send(self, name: str, request: Request, now: float) -> bool:
        sa = self._sa_of(name)
        if sa is not None:
            with contextlib.suppress(UnknownSa):
                self._endpoint.request(sa, ExchangeType.INFORMATIONAL, request, now)
                return True
        return False

    # -- what a peer says ------------------------------------------------------------------------------

    def answer(self, payloads: Sequence[Payload], peer: str, now: float) -> list[Payload]:
        """The answer to a peer's INFORMATIONAL request: the document that it requests, or our announcement."""
        whole = self.heard(payloads, peer, now)
        answer: list[Payload] = []
        try:
            wanted = notifies.find_document_wanted(payloads)
        except MalformedMessage as error:
            self.holder.doubt(peer, str(error))
            return answer
        if whole:
            answer.append(notifies.documents_held(self.holder.held(peer), whole=False))
        document = None if wanted is None else self.holder.given(wanted, peer, now)
        if isinstance(document, int):
            answer.append(notifies.reconnect_hint(document))
        elif document is not None:
            answer.append(notifies.carried_document(document))
        return answer

    def heard(self, payloads: Sequence[Payload], peer: str, now: float) -> bool:
        """Read a peer's announcement; True if it is full and asks for ours."""
        try:
            held = notifies.find_documents_held(payloads)
        except MalformedMessage as error:
            self.holder.doubt(peer, str(error))
            return False
        if held is None:
            return False
        of = self._peer(peer)
        for each in held.documents:
            of.remember(each)
            self.holder.held_by_peer(each, now)
        if of.asked is None and any(self._lacks(of, each) for each in held.documents):
            of.ask_at = min(of.ask_at, now + self._patience_s())
        return held.whole

    def _patience_s(self) -> float:
        return self._uniform(*self._patience) if self._patience[1] else 0.0

    def forget(self, peer: str) -> None:
        """The party is no longer a peer."""
        state = self._peers.pop(peer, None)
        if state is not None:
            self._give_up(state)

    # -- asking ----------------------------------------------------------------------------------------

    def _lacks(self, peer: _Peer, entry: Held) -> bool:
        return peer.rejected.get(entry.router, 0) < entry.version and self.holder.wants(entry)

    def _ask(self, name: str, peer: _Peer, now: float) -> None:
        peer.ask_at = math.inf
        if peer.asked is not None or self._sa_of(name) is None:
            return
        lacking = [each for each in peer.entries.values() if self._lacks(peer, each)]
        free = [each for each in lacking if each.router not in self.holder.asked_for]
        if not free:
            peer.ask_at = now + AGAIN_S if lacking else math.inf
        elif not peer.pace.take(now):
            peer.ask_at = now + max(NEWS_S, peer.pace.next_s(now))
        else:
            request = AskDocument(self, name, free[0])
            if self._send(name, request, now):
                peer.asked = request
                self.holder.asked_for.add(free[0].router)

    def question(self, wanted: Held) -> list[Payload] | None:
        """The request; None when the document is no longer wanted."""
        if not self.holder.wants(wanted):
            return None
        return [notifies.document_wanted(WantedDocument(wanted.router, self.holder.version(wanted.router)))]

    def answered(self, request: AskDocument, name: str, payloads: Sequence[Payload], now: float) -> None:
        """Handle the answer to a request of ours."""
        wanted, peer = request.wanted, self._peers.get(name)
        signed, wait_s = None, None
        try:
            wait_s = notifies.find_reconnect_hint(payloads)
            signed = notifies.find_carried_document(payloads) if first_error(payloads) is None else None
        except MalformedMessage as error:
            self.holder.doubt(name, str(error))
        self.ended(request, name)
        if signed is not None:
            self.holder.offer(signed, wanted, name, now)
        if peer is None:
            return
        if wait_s is not None:
            peer.ask_at = now + min(wait_s, LONGEST_WAIT_S) * self._uniform(1.0, 1.25)
            return
        if self.holder.wants(wanted):
            peer.rejected[wanted.router] = wanted.version
            self.holder.missed(wanted, name, now)
        peer.ask_at = now

    def ended(self, request: AskDocument, name: str) -> None:
        """No answer will come. Everything is announced again over the next IKE SA."""
        peer = self._peers.get(name)
        if peer is not None and peer.asked is request:
            self._give_up(peer)

    def _give_up(self, peer: _Peer) -> None:
        if peer.asked is not None:
            self.holder.asked_for.discard(peer.asked.wanted.router)
            peer.asked, peer.ask_at = None, 0.0

    # -- time ------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do all actions that are due."""
        for name, peer in list(self._peers.items()):
            if peer.greet_at <= now:
                self._greet(name, peer, now)
            if peer.news_at <= now:
                self._tell(name, peer, now)
            if peer.ask_at <= now:
                self._ask(name, peer, now)
            if peer.idle:
                del self._peers[name]

    def next_timer(self) -> float | None:
        """The time of the next action."""
        if not self._peers:
            return None
        when = min([each.due for each in self._peers.values()])
        return None if when == math.inf else when
