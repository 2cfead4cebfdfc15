"""One interface: its IKE endpoint, our own groups there, and the neighbours that we receive there.

Each interface has an endpoint of its own, so INITIAL_CONTACT on one link says nothing about another link to the same
neighbour. Only datagrams from an allowed neighbour's address on this interface with hop limit 255 (RFC 5082) are
accepted, so no packet from beyond the link reaches IKE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from agents.gikev2 import GroupKeys, KeyServer, RegistrationRequest
from agents.gikev2.courier import Courier, DocumentHolder
from agents.gikev2.party import GroupParty
from agents.gikev2.revocation_exchange import ListHolder
from agents.gikev2.server import SpeakerRequest
from agents.ikev2 import (
    Closed,
    CloseReason,
    Established,
    Identification,
    IkeConfig,
    MessageSeen,
    Payload,
    PeerAddress,
    PeerCredential,
    PeerKey,
    Retransmission,
    SaHandle,
)
from agents.ikev2.config import offers
from agents.ikev2.registry import NotifyType
from agents.ipsec.protection import GroupSa
from agents.lks.context import Context
from agents.lks.generations import earliest
from agents.lks.listener import Listener
from agents.lks.speaker import Orders, Speaker
from agents.policy.document import InterfacePolicy
from agents.policy.names import GroupId, SpeakerId

RETRANSMISSION = Retransmission(first_s=0.25, factor=1.8, cap_s=1.0, tries=10)
REFUSALS = frozenset({CloseReason.AUTHENTICATION_FAILED, CloseReason.REFUSED, CloseReason.NO_PROPOSAL_CHOSEN})


class Link(GroupParty):
    """Key management with all neighbours of one interface."""

    def __init__(
        self,
        context: Context,
        holder: ListHolder,
        documents: DocumentHolder,
        policy: InterfacePolicy,
        port: int,
        now: float,
        orders: Orders,
    ) -> None:
        """`orders`: the path to the DKS, for groups of ours whose generations it makes."""
        self._context, self.policy, self._port = context, policy, port
        self.up = False
        self._addresses = {str(policy.between(each)[1]): each for each in policy.neighbors}
        config = IkeConfig(
            offers=offers(context.document.key_exchange),
            retransmission=RETRANSMISSION,
            hop_limit=255,
            admit=self._admit,
            liveness_s=context.liveness.neighbor_s,
            ike_lifetime_s=float(context.document.lifetimes.ike_s),
            # An attacker with a neighbour's address fills two places and then needs the answers sent to it. The
            # neighbour itself receives them, so it always finds a free place.
            cookie_threshold_per_address=2,
            log_keys=context.log_keys,
        )
        domain, emit = context.document.domain, context.effects.append
        super().__init__(
            context.identity, config, context.random, domain, holder, documents, emit, context.boundary, policy.name
        )
        self._orders = orders
        self.speakers = {
            group: Speaker(context, self._endpoint, group, now, orders if context.shared(group) else None)
            for group in context.document.own_groups()
            if group.interface == policy.name
        }
        self.listeners = {
            each.router: Listener(context, self._endpoint, self._lists.hello, policy, each, port)
            for each in policy.neighbors
        }
        self._keyed: set[str] = set()
        self.present: set[str] = set()
        """The neighbours from whose address an IKE message came, unless one side refused the other."""
        self._rejected: set[str] = set()

    # -- who may speak to us --------------------------------------------------------------------------

    def _admit(self, peer: PeerAddress) -> bool:
        return peer.interface == self.policy.name and peer.ip in self._addresses

    def _authenticate(
        self, claimed: Identification, credential: PeerCredential | None, peer: PeerAddress
    ) -> PeerKey | None:
        """The pinned key of the neighbour with this address, if the identity is its own."""
        neighbor = self._addresses.get(peer.ip)
        if neighbor is None or claimed != self._context.party(neighbor.router):
            return None
        return PeerKey.from_spki(neighbor.key)

    def _peer(self, identity: Identification | None) -> str | None:
        router = self.router_of(identity)
        return None if router is None or self.policy.neighbor(router) is None else router

    # -- input ---------------------------------------------------------------------------------------

    def set_up(self, up: bool, now: float) -> None:
        """The interface runs with its address, or no longer does. Keys stay while it is down."""
        came_up = up and not self.up
        self.up = up
        if came_up:
            for listener in self.listeners.values():
                self.boundary.run("listener", lambda listener=listener: listener.wake(now))  # type: ignore[misc]
        self._drain(now)

    def tick(self, now: float) -> None:
        """Do all actions that are due."""
        for part in self._parts():
            self.boundary.timer(part, lambda part=part: part.tick(now), now)  # type: ignore[misc]
        self._endpoint.tick(now)
        self._drops.tick(now)
        self._drain(now)

    def next_timer(self) -> float | None:
        """When something is due."""
        parts = [self.boundary.due(each, each.next_timer()) for each in self._parts()]
        return earliest([self._endpoint.next_timer(), self._drops.next_timer(), *parts])

    def _parts(self) -> list[Speaker | Listener | Courier]:
        return [*self.speakers.values(), *self.listeners.values(), self._courier]

    def announce(self, routers: Sequence[str], now: float) -> None:
        """Documents of these routers are new here: announce them to the neighbours."""
        self._courier.news(routers, self.listeners, now)

    def rekey(self, now: float, reason: str, *, excluding: bool = False) -> None:
        """Make new generations of all own groups here. `excluding`: a neighbour must lose access."""
        for speaker in self.speakers.values():
            speaker.rekey(now, reason, excluding=excluding)
        self._drain(now)

    def rekey_group(self, group: GroupId, now: float, reason: str) -> None:
        """Make a new generation of this group, if it is our own."""
        if group in self.speakers:
            self.speakers[group].rekey(now, reason)
        self._drain(now)

    def issued(self, group: GroupId, keys: GroupKeys | None, now: float) -> None:
        """The DKS has made these keys for a group of ours here, or refuses. UnusableGroup."""
        speaker = self.speakers.get(group)
        try:
            if speaker is not None and keys is not None:
                speaker.given(keys, now)
            elif speaker is not None:
                speaker.not_given(now)
        finally:
            self._drain(now)

    def adopt(self, policy: InterfacePolicy, now: float) -> bool:
        """Continue under a newer policy of this interface. False when it changes more than its modes or neighbours.

        Remaining neighbours only see a rekey, which excludes removed ones and has pair SAs for new ones. Keys of a
        protocol whose mode does not change stay in use.
        """
        old = {each.router: each for each in self.policy.neighbors}
        new = {each.router: each for each in policy.neighbors}
        same = {each: getattr(self.policy, each) for each in ("mode", "modes", "neighbors")}
        if policy.model_copy(update=same) != self.policy:
            return False
        self.policy = policy
        self._addresses = {str(policy.between(each)[1]): each for each in policy.neighbors}
        gone = [router for router, each in old.items() if new.get(router) != each]
        come = [each for router, each in new.items() if old.get(router) != each]
        for speaker in self.speakers.values():
            speaker.exclude(gone, now)
        self.present.difference_update(gone)
        for router in gone:
            self._courier.forget(router)
            self.listeners.pop(router).stop(now)
            for sa in self._endpoint.sas(self._context.party(router)):
                self._endpoint.close(sa, now)
        self._endpoint.review(now)
        own = [each for each in self._context.document.own_groups() if each.interface == policy.name]
        for group in [each for each in self.speakers if each not in own]:
            del self.speakers[group]
            self._context.kernel_dirty = True
        for group in own:
            if group not in self.speakers:
                orders = self._orders if self._context.shared(group) else None
                self.speakers[group] = Speaker(self._context, self._endpoint, group, now, orders)
        for listener in self.listeners.values():
            listener.adopt(policy, now)
        for each in come:
            self.listeners[each.router] = Listener(
                self._context, self._endpoint, self._lists.hello, policy, each, self._port
            )
            if self.up:
                self.listeners[each.router].wake(now)
        if gone or (come and policy.link == "lan"):
            self.rekey(now, "policy", excluding=bool(gone))
        self._drain(now)
        return True

    def stop(self, now: float) -> None:
        """End the contact with all neighbours."""
        for sa in self._endpoint.sas():
            self._endpoint.close(sa, now)
        self._drain(now)

    def sas(self) -> Iterator[GroupSa]:
        """The content that the kernel must have for this interface."""
        for speaker in self.speakers.values():
            yield from speaker.sas()
        for listener in self.listeners.values():
            for hearing in listener.hearing.values():
                yield from hearing.sas()

    # -- events --------------------------------------------------------------------------------------

    def _drain(self, now: float) -> None:
        super()._drain(now)
        self._note_keyed()

    def _may_send(self) -> bool:
        return self.up

    def on_seen(self, event: MessageSeen, now: float) -> None:
        """A neighbour's first message only says that it may be there: the boot waits a little longer for it."""
        neighbor = self._addresses.get(event.peer.ip)
        if neighbor is not None and neighbor.router not in self._rejected:
            self.present.add(neighbor.router)

    def on_established(self, event: Established, now: float) -> None:
        router = self._peer(event.peer_id)
        role = "initiator" if event.initiator else "responder"
        self._context.event("ike", peer=router, interface=self.policy.name, role=role, state="established")
        if router is not None:
            self._courier.met(router, now, first=self._context.document.router < router)
        if event.initiator:
            self._own(event.sa, lambda listener: listener.established(event, now))
            if router is not None:
                self._met(event.sa, router, event.payloads, now)
        elif router is not None:
            self.registered(event.sa, router, now)
            listener = self.listeners[router]
            listener.wake(now)
            if not event.initial_contact:
                listener.check(now)

    def on_closed(self, event: Closed, now: float) -> None:
        router = self._peer(event.sa.peer_id)
        if router is not None and event.reason in REFUSALS:
            self._rejected.add(router)
            self.present.discard(router)
        role = "initiator" if event.sa.initiator else "responder"
        state = event.reason.name.lower()
        self._context.event("ike", peer=router, interface=self.policy.name, role=role, state=state)
        for speaker in self.speakers.values():
            self.boundary.run("closed", lambda speaker=speaker: speaker.forget(event.sa, now))  # type: ignore[misc]
        self._own(event.sa, lambda listener: listener.closed(event, now))

    def _own(self, sa: SaHandle, job: Callable[[Listener], None]) -> None:
        for listener in self.listeners.values():
            if listener.sa is sa:
                job(listener)

    # -- requests to us ------------------------------------------------------------------------------

    def register(self, request: RegistrationRequest, peer: str, sa: SaHandle, now: float) -> list[Payload]:
        speaker = self.speakers.get(request.group)
        if speaker is None:
            return KeyServer.reject(NotifyType.INVALID_GROUP_ID)
        return self._greeted(speaker.register(request, peer, sa, now), request, peer, sa, now)

    def register_all(self, request: SpeakerRequest, peer: str, sa: SaHandle, now: float) -> list[Payload]:
        document = self._context.document
        if request.speaker != SpeakerId(document.domain, document.router, self.policy.name):
            return KeyServer.reject(NotifyType.INVALID_GROUP_ID)
        answers = [each.register(request.of(group), peer, sa, now) for group, each in self.speakers.items()]
        return self._greeted(KeyServer.together(answers), request.whole, peer, sa, now)

    def _greeted(
        self, answer: list[Payload], request: RegistrationRequest, peer: str, sa: SaHandle, now: float
    ) -> list[Payload]:
        return answer if sa.established else [*answer, *self._lists.greet(request.payloads, peer, now)]

    def registered(self, sa: SaHandle, peer: str, now: float) -> None:
        for speaker in self.speakers.values():
            speaker.registered(peer, now)
        super().registered(sa, peer, now)

    def rekeyed(self, payloads: Sequence[Payload], sa: SaHandle, now: float) -> None:
        self._own(sa, lambda listener: listener.rekey(payloads, sa, now))

    # -- whether we understand each other ------------------------------------------------------------

    def keyed(self, router: str) -> bool:
        """True if we can decrypt this neighbour, and it has the keys to decrypt us."""
        for speaker in self.speakers.values():  # evaluated for all neighbours after each datagram
            if router not in speaker.members:
                return False
        return bool(self.speakers) and self.listeners[router].complete

    def _note_keyed(self) -> None:
        for router in self.listeners:
            if not self.keyed(router):
                self._keyed.discard(router)
            elif router not in self._keyed:
                self._keyed.add(router)
                self._context.event("keyed", interface=self.policy.name, neighbor=router)
