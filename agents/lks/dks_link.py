"""The router's contact with the DKS: when it takes place, what goes up and down, and the lease that answers renew.

At the scheduled time: IKE, then GSA_AUTH for the control group (policy down, reports up). The IKE SA stays, so that the
DKS can push policy and keys. Other requests for keys use it too (`AtDks`). One object for each DKS. Knows nothing of
neighbours' LKSs, nor of the use of keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.gikev2 import GroupKeys, GroupMember, GroupRefused, UnusableGroup, notifies
from agents.gikev2.courier import DocumentHolder
from agents.gikev2.party import GroupParty, Registration
from agents.gikev2.revocation_exchange import ListHolder
from agents.ikev2 import (
    AuthRequest,
    Closed,
    CloseReason,
    Datagram,
    Established,
    FailureReason,
    Identification,
    IkeConfig,
    IkeError,
    Payload,
    PeerAddress,
    PeerCredential,
    PeerKey,
    Request,
    Retransmission,
    SaHandle,
)
from agents.ikev2.codec.payloads import first_error
from agents.ikev2.config import PostQuantum, offers
from agents.ikev2.registry import ExchangeType
from agents.ikev2.round_trip import HANDSHAKE_S
from agents.lks.context import Context
from agents.lks.generations import earliest
from agents.lks.lease import ask_every_s
from agents.lks.own_confirmation import Confirming
from agents.lks.reconnect import Schedule
from agents.policy.errors import PolicyError
from agents.policy.group import Issuer
from agents.policy.keys import public_key_from_spki
from agents.policy.names import DKS_NAME, GroupId

PATIENT = Retransmission(first_s=1.0, factor=1.8, cap_s=8.0, tries=6)
EAGER = Retransmission(first_s=0.5, factor=1.8, cap_s=3.0, tries=20)
RETRY_S = (1.0, 3.0)
MOST_REPORTS = 32
"""The most signed states in one message: a router may have a thousand groups, and a message 64 payloads."""
REPORT_S = 1.0
"""How long a report waits for the reports of other groups."""


class RouterSide(Protocol):
    """The router's part in its contact with the DKS."""

    @property
    def revocation(self) -> ListHolder:
        """The revocation list of the router."""

    @property
    def carrying(self) -> DocumentHolder:
        """The router's policy documents."""

    @property
    def confirming(self) -> Confirming:
        """The router's confirmation."""

    def states(self) -> Sequence[bytes]:
        """The signed states of our groups: a report to the DKS of what we did without it."""

    def take_document(self, signed: bytes, now: float) -> None:
        """The DKS gave a policy document."""

    def renew_lease(self, since: float, now: float) -> None:
        """The DKS has answered a request that was sent at `since`."""

    def make_generations(self, groups: Sequence[GroupId], now: float) -> None:
        """The DKS orders new generations (REKEY_ORDER)."""

    def issued(self, group: GroupId, keys: GroupKeys | None, now: float) -> None:
        """The DKS's answer to an order: keys, or none. UnusableGroup for keys that policy or time forbid."""


class AtDks(Registration):
    """A registration at the DKS."""

    def __init__(self, contact: DksLink, group: GroupId) -> None:
        super().__init__(contact.under_way, group)
        self.contact = contact

    def missed(self, now: float) -> None:
        self.contact.later(self.group, now)


class Report(AtDks):
    """The registration at our control group: reports of our LKS go up, policy comes down."""

    def payloads(self) -> Sequence[Payload] | None:
        return self.contact.report()

    def taken(self, payloads: Sequence[Payload], now: float) -> None:
        if not self.contact.put_off(self.group, payloads, now):
            self.contact.admitted(payloads, now)


class OrderGeneration(AtDks):
    """A request for the next generation of a group that our LKS distributes. `held`: the newest one's signed state."""

    def __init__(self, contact: DksLink, group: GroupId, held: bytes) -> None:
        super().__init__(contact, group)
        self._held = held

    def payloads(self) -> Sequence[Payload] | None:
        return self.contact.member.request(self.group, sender=True, extra=[notifies.group_report(self._held)])

    def taken(self, payloads: Sequence[Payload], now: float) -> None:
        self.contact.put_off(self.group, payloads, now)
        self.contact.issued(self.group, payloads, now)

    def missed(self, now: float) -> None:
        self.contact.issued(self.group, None, now)


class RenewLease(Request):
    """A check that the DKS still answers. Only an answer to a fresh request renews the lease, counted from the request:
    any other message may be old."""

    def __init__(self, contact: DksLink, since: float) -> None:
        self._contact, self._since = contact, since

    def payloads(self) -> Sequence[Payload] | None:
        return self._contact.hello()

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        self._contact.renewed(payloads, self._since, now)

    def failed(self, reason: FailureReason, now: float) -> None:
        self._contact.renew_later(now)


class DksLink(GroupParty):
    """Contact with one DKS, of a router whose groups have their keys from its own LKS and its neighbours'.

    `agents.lks.central` has the contact of a router that gets them from the DKS."""

    retransmission = PATIENT
    patience_s = (1.0, 5.0)  # neighbours have most documents that the DKS announces, and none is urgent
    eager = False
    """True if nothing works without the DKS."""

    def __init__(self, context: Context, side: RouterSide, port: int, now: float) -> None:
        document = context.document
        self._context, self._side, self._port = context, side, port
        # IPv4 first; the next address follows when one does not answer.
        self._addresses = [str(each) for each in sorted(document.dks.addresses, key=lambda each: each.version)]
        self._to_port = document.dks.port
        self._key = public_key_from_spki(document.dks.key)
        self._id = context.party(document.dks.name)
        self._control = GroupId.control(document.domain, document.router)
        # With a further address to try, an address that does not answer is left as soon as over a short path.
        handshake_s = HANDSHAKE_S if len(self._addresses) == 1 else 0.0
        config = IkeConfig(
            offers=offers(document.key_exchange),
            retransmission=replace(self.retransmission, handshake_s=handshake_s),
            liveness_s=context.liveness.dks_s,
            log_keys=context.log_keys,
            ike_lifetime_s=float(document.lifetimes.ike_s),
            admit=lambda peer: peer.ip in self._addresses,
        )
        emit, boundary = context.effects.append, context.boundary
        super().__init__(
            context.identity, config, context.random, document.domain, side.revocation, side.carrying, emit, boundary
        )
        self.member = GroupMember((document.suite,), self._issuer_key, context.retained.check)
        self._schedule = Schedule(document.reconnect, context.uniform, eager=self.eager)
        self.sa: SaHandle | None = None
        self.last_contact: float | None = None
        self.connect_at: float | None = None
        """The time of the next contact; None during one."""
        self._connect_began = now
        self._tries = 0
        self._hint: int | None = None
        """How long the DKS last told us to stay away, until it admits us."""
        self.under_way: dict[GroupId, Registration] = {}
        self._again_at: dict[GroupId, float] = {}
        self._paced: dict[GroupId, float] = {}
        """The end of the time that the DKS told us to stay away, whatever other reasons for a visit there are."""
        self._renew_at: float | None = None
        self._heeds_at = now
        """The time from which a neighbour's hint of a newer policy for us causes a visit."""
        self._plan(now, self._schedule.first())

    def _plan(self, now: float, wait_s: float) -> None:
        self.connect_at = now + wait_s
        if wait_s:
            self._context.event("dks_scheduled", at_s=round(self.connect_at, 6), wait_s=round(wait_s, 6))

    def _authenticate(
        self, claimed: Identification, credential: PeerCredential | None, peer: PeerAddress
    ) -> PeerKey | None:
        return PeerKey(self._key) if claimed == self._id else None

    def _peer(self, identity: Identification | None) -> str | None:
        return DKS_NAME if identity == self._id else None

    def _sa_with(self, peer: str) -> SaHandle | None:
        return self._there

    def _issuer_key(self, _group: GroupId, issuer: Issuer) -> Ed25519PublicKey | None:
        return self._key if issuer == "dks" else None

    def is_from(self, datagram: Datagram) -> bool:
        """True if the datagram came from an address of the DKS, in answer or over an SA that we began."""
        return datagram.peer.ip in self._addresses

    @property
    def _there(self) -> SaHandle | None:
        """The established IKE SA, if any."""
        return self.sa if self.sa is not None and self.sa.established else None

    # -- input ---------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due."""
        self.boundary.timer("DKS", lambda: self._due(now), now)
        self.boundary.timer(self._courier, lambda: self._courier.tick(now), now)
        self._endpoint.tick(now)
        self._drops.tick(now)
        self._drain(now)

    def _due(self, now: float) -> None:
        if self.connect_at is not None and self.connect_at <= now:
            self._connect(now)
        if self._renew_at is not None and self._renew_at <= now:
            self._renew(now)
        for group, when in list(self._again_at.items()):
            if when <= now:
                self._register(group, now)
                if self._again_at.get(group) == when:
                    del self._again_at[group]  # a request is pointless now
        confirming, sa = self._side.confirming, self._there
        request = confirming.request(now) if sa is not None and confirming.due(now) else None
        if sa is not None and request is not None:
            self._endpoint.request(sa, ExchangeType.INFORMATIONAL, request, now)

    def next_timer(self) -> float | None:
        """When something is due."""
        due = self.boundary.due("DKS", earliest(self._timers()))
        documents = self.boundary.due(self._courier, self._courier.next_timer())
        return earliest([due, documents, self._endpoint.next_timer(), self._drops.next_timer()])

    def _timers(self) -> list[float | None]:
        confirm = None if self._there is None else self._side.confirming.next_timer()
        return [self.connect_at, self._renew_at, confirm, *self._again_at.values()]

    # -- contact -------------------------------------------------------------------------------------

    def _connect(self, now: float) -> None:
        self._connect_began = now
        if not self._addresses:
            self.connect_at = None
            self._context.event("error", what="dks", detail="the DKS has no address")
            return
        address = self._addresses[self._tries % len(self._addresses)]
        self._tries += 1
        first = [*self.report(), *self._side.confirming.offer(now)]
        self.sa = self._endpoint.connect(PeerAddress(address, self._to_port, "", "", self._port), self._id, first, now)
        self.connect_at = None

    def come_soon(self, now: float) -> None:
        """There is a policy for us that we lack: do not wait for the schedule."""
        if self.connect_at is not None:
            self.connect_at = min(self.connect_at, now)

    def come_paced(self, now: float) -> None:
        """A neighbour announces a policy for us, and did not give it. Visit the DKS earlier than scheduled: at a random
        moment of the first wait, since others may get the same hint, and only once in the longest first wait."""
        reconnect = self._context.document.reconnect
        if self.connect_at is None or now < self._heeds_at:
            return
        self._heeds_at = now + max(1, reconnect.first_max_s)
        when = now + self._context.uniform(0, reconnect.first_min_s)
        if when < self.connect_at:
            self._plan(now, when - now)

    def stop(self, now: float) -> None:
        """End the contact: another entry replaces the DKS."""
        self.connect_at = None
        if self.sa is not None:
            sa, self.sa = self.sa, None
            self._endpoint.close(sa, now)
        self._drain(now)

    def on_auth_request(self, event: AuthRequest, now: float) -> None:
        """The DKS begins no IKE SA: a message that begins one in its name gets no answer."""

    def on_established(self, event: Established, now: float) -> None:
        self.last_contact = now
        self._schedule.succeeded()
        self._context.event("dks_contact", ok=True)
        self._side.renew_lease(self._connect_began, now)
        self.renew_later(now)
        if self.put_off(self._control, event.payloads, now):
            self._side.confirming.parted()  # the DKS has read nothing of the registration's payloads
        else:
            self._side.confirming.delivered(now)
            self.admitted(event.payloads, now)

    def admitted(self, payloads: Sequence[Payload], now: float) -> None:
        """The DKS has answered at our control group: take its policy, then register at all groups whose keys it
        makes."""
        self._hint = None
        self._policy(payloads, now)
        sa = self._there
        if sa is not None:
            self._met(sa, DKS_NAME, payloads, now)
            self._courier.met(DKS_NAME, now, first=False)
            self._courier.heard(payloads, DKS_NAME, now)
            for batch in self._reports()[1:]:  # reports that a registration had no room for
                self._endpoint.request(sa, ExchangeType.INFORMATIONAL, Request(batch), now)

    def put_off(self, group: GroupId, payloads: Sequence[Payload], now: float) -> bool:
        """True if the DKS has too many registrations at the moment, and told us when to repeat this one. The next
        attempt uses the established IKE SA: a handshake costs the DKS more than a refusal."""
        try:
            hint = notifies.find_reconnect_hint(payloads)
        except IkeError:
            return False  # the reader of the rest of the answer reports its error
        if hint is None or first_error(payloads) is None:
            return False
        if group.is_control:
            self._hint = hint
        wait_s = self._schedule.hinted(hint)
        self._again_at[group] = self._paced[group] = now + wait_s
        self._context.event("put_off", group=str(group), wait_s=round(wait_s, 6))
        return True

    def on_closed(self, event: Closed, now: float) -> None:
        if event.sa is not self.sa:
            return
        self.sa, self._renew_at = None, None
        self.under_way.clear()
        self._again_at.clear()
        self._side.confirming.parted()
        self._context.event("dks_contact", ok=False, reason=event.reason.name.lower())
        if event.reason is CloseReason.NO_PROPOSAL_CHOSEN and self._context.document.key_exchange is PostQuantum.OFF:
            self.agree(PostQuantum.PREFERRED, now)  # the DKS may have a later document for us, which requires it
        hint, self._hint = self._hint, None
        self.connect_at = now + self._context.liveness.dks_s  # whatever the plan becomes
        self._plan(now, self._schedule.failed() if hint is None else self._schedule.hinted(hint))

    # -- the lease -----------------------------------------------------------------------------------

    def _renew(self, now: float) -> None:
        self._renew_at = None
        if (sa := self._there) is not None:
            self._endpoint.request(sa, ExchangeType.INFORMATIONAL, RenewLease(self, now), now)

    def hello(self) -> list[Payload]:
        """The announcement of our policy, so that the DKS announces its own."""
        return self._lists.hello()

    def renewed(self, payloads: Sequence[Payload], since: float, now: float) -> None:
        """The DKS has answered a request that was sent at `since`."""
        self._lists.heard(payloads, DKS_NAME, now)
        self._side.renew_lease(since, now)
        self.renew_later(since)

    def renew_later(self, since: float) -> None:
        """Schedule the next renewal."""
        self._renew_at = since + ask_every_s(self._context.document.lease.seconds)

    # -- requests to us ------------------------------------------------------------------------------

    def informed(self, payloads: Sequence[Payload], peer: str, now: float) -> list[Payload]:
        groups = notifies.find_rekey_orders(payloads)
        if groups:
            self._side.make_generations(groups, now)
        return []

    def rekeyed(self, payloads: Sequence[Payload], sa: SaHandle, now: float) -> None:
        self._policy(payloads, now)

    def _policy(self, payloads: Sequence[Payload], now: float) -> None:
        try:
            signed = notifies.find_policy_document(payloads)
        except IkeError as error:
            self._context.event("error", what="policy", detail=str(error))
            return
        if signed is not None:
            self._side.take_document(signed, now)

    # -- registration --------------------------------------------------------------------------------

    def ask(self, request: AtDks, now: float) -> bool:
        """Send this registration, or schedule its group's turn for when the DKS has time. False when it was not sent:
        there is no contact, or this group is being registered already."""
        group, sa = request.group, self._there
        if sa is None or group in self.under_way:
            return False
        if now < self._paced.get(group, now):
            self._again_at[group] = self._paced[group]
            return False
        self._again_at.pop(group, None)
        self._endpoint.request(sa, ExchangeType.GSA_REGISTRATION, request, now)
        self.under_way[group] = request
        return True

    def later(self, group: GroupId, now: float) -> None:
        """Register again after a while."""
        self._again_at[group] = now + self._context.uniform(*RETRY_S)

    def _register(self, group: GroupId, now: float) -> None:
        if group.is_control:
            self.ask(Report(self, group), now)

    # -- what our LKS did, and wants to do -----------------------------------------------------------

    def report(self) -> list[Payload]:
        """A registration at our control group."""
        return self.member.request(self._control, extra=[*self.hello(), *self._reports()[0]])

    def _reports(self) -> list[list[Payload]]:
        """The reports of our LKS, as many states as fit a message: the first go with a registration."""
        payloads: list[Payload] = [notifies.group_report(state) for state in self._side.states()]
        return [payloads[first : first + MOST_REPORTS] for first in range(0, max(1, len(payloads)), MOST_REPORTS)]

    def report_soon(self, now: float) -> None:
        """Our groups have generations that the DKS did not make. Without a contact, the next one reports them."""
        if self._there is not None:
            self._again_at.setdefault(self._control, max(now + REPORT_S, self._paced.get(self._control, now)))

    def order(self, group: GroupId, held: bytes, now: float) -> bool:
        """Ask for a new generation of an own group. `held`: our newest one's signed state. False when the DKS cannot be
        asked now."""
        asked = self.ask(OrderGeneration(self, group, held), now)
        if asked:
            self._drain(now)
        return asked

    def issued(self, group: GroupId, payloads: Sequence[Payload] | None, now: float) -> None:
        """Handle the answer to an order, if there is one."""
        keys = None
        try:
            if payloads is not None and self.sa is not None:
                keys = self.member.answer(group, payloads, self.sa.key_wrap_key())
        except (GroupRefused, IkeError, PolicyError) as error:
            self._context.event("error", what="order", group=str(group), detail=str(error))
        try:
            self._side.issued(group, keys, now)
        except UnusableGroup as error:
            self._context.event("error", what="order", group=str(group), detail=str(error))
