"""The router's relation to the DKS: its control group, and under `issuer: dks` all its groups.

At the scheduled time: IKE, GSA_AUTH for the control group (policy down, reports up), then GSA_REGISTRATION
for groups whose keys the DKS gives out, or for each new generation that it makes for our LKS to give out.
The IKE SA stays, so that the DKS can push policy and keys.
Knows nothing of neighbours' LKSs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.gikev2 import GroupKeys, GroupMember, GroupRefused, UnusableGroup, notifies
from agents.gikev2.keys import bounded
from agents.gikev2.member import parse_delete, rekey_sa
from agents.gikev2.party import IkeParty
from agents.gikev2.spread import Spread
from agents.ikev2 import (
    Closed,
    Datagram,
    Established,
    FailureReason,
    Identification,
    IkeConfig,
    IkeEndpoint,
    IkeError,
    IntegrityFailure,
    Payload,
    PeerAddress,
    PeerCredential,
    PeerKey,
    Request,
    RequestReceived,
    Retransmission,
    SaHandle,
    UnknownSa,
)
from agents.ikev2.codec.payloads import first_error
from agents.ikev2.registry import ExchangeType
from agents.ikev2.round_trip import HANDSHAKE_S
from agents.lks.central import CentralGroups
from agents.lks.confirming import Confirming
from agents.lks.context import Context
from agents.lks.generations import earliest
from agents.lks.lease import ask_every_s
from agents.lks.reconnect import Schedule
from agents.lks.rekey_sas import RekeySas
from agents.policy.errors import PolicyError
from agents.policy.group import Issuer, verify_group_state
from agents.policy.keys import public_key_from_spki
from agents.policy.names import DKS_NAME, GroupId

PATIENT = Retransmission(first_s=1.0, factor=1.8, cap_s=8.0, tries=6)
EAGER = Retransmission(first_s=0.5, factor=1.8, cap_s=3.0, tries=20)
LIVENESS_S = 60.0
EXCHANGES = frozenset({ExchangeType.GSA_REGISTRATION, ExchangeType.GSA_INBAND_REKEY, ExchangeType.INFORMATIONAL})
RETRY_S = (1.0, 3.0)
MOST_REPORTS = 32
"""Signed states in one message: a router may have a thousand groups, and a message 64 payloads."""
REPORT_S = 1.0
"""How long reports of several groups wait for each other."""
Issued = Callable[[GroupId, GroupKeys | None, int, float], None]
"""Group, its new keys or None when the DKS gives none, the policy version that they are under, and the time."""


class Register(Request):
    """GSA_REGISTRATION of one group at the DKS."""

    def __init__(self, link: DksLink, group: GroupId, payloads: Sequence[Payload]) -> None:
        super().__init__(payloads)
        self._link, self.group = link, group

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        if self._link.ends(self):
            self._link.take(self.group, payloads, now)

    def failed(self, reason: FailureReason, now: float) -> None:
        if self._link.ends(self):
            self._link.unanswered(self.group, now)


class RenewLease(Request):
    """Whether the DKS still answers us. Only an answer to what was just asked renews the lease, counted from the
    question: what else comes may be old."""

    def __init__(self, link: DksLink, since: float) -> None:
        self._link, self.since = link, since

    def payloads(self) -> Sequence[Payload] | None:
        return self._link.hello()

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        self._link.renewed(self, payloads, now)

    def failed(self, reason: FailureReason, now: float) -> None:
        self._link.not_renewed(self)


class DksLink(IkeParty):
    """Contact with the DKS. `central`: the groups whose keys it makes, or None when it makes none."""

    def __init__(
        self,
        context: Context,
        central: CentralGroups | None,
        reports: Callable[[], Sequence[bytes]],
        new_document: Callable[[bytes, float], None],
        renewed: Callable[[float, float], None],
        port: int,
        now: float,
        confirming: Confirming | None = None,
        issued: Issued | None = None,
        ordered: Callable[[Sequence[GroupId], float], None] | None = None,
    ) -> None:
        """`issued`: takes the answers to `order`; `ordered`: the groups that are to get a new generation."""
        self._issued, self._ordered = issued, ordered
        self._report_at: float | None = None
        self._confirming = confirming
        self._context, self.central, self._reports, self._new_document = context, central, reports, new_document
        self._renew_lease = renewed
        self._ask_at: float | None = None
        self._renewing: RenewLease | None = None
        self._connect_began = now
        document = context.document
        # Where there is another address to try, one that does not answer is left as soon as on a short way.
        handshake_s = HANDSHAKE_S if len(document.dks.addresses) == 1 else 0.0
        self._entry, self._port = document.dks, port
        self._key = public_key_from_spki(document.dks.key)
        self._id = context.party(document.dks.name)
        self._control = GroupId.control(document.domain, document.router)
        endpoint = IkeEndpoint(
            context.identity,
            self._authenticate,
            random=context.random,
            config=IkeConfig(
                retransmission=replace(EAGER if central is not None else PATIENT, handshake_s=handshake_s),
                liveness_s=LIVENESS_S,
                upper_exchanges=EXCHANGES,
                log_keys=context.log_keys,
                ike_lifetime_s=float(document.lifetimes.ike_s),
                admit=lambda peer: peer.ip in {str(each) for each in self._entry.addresses},
            ),
            auth_exchange=ExchangeType.GSA_AUTH,
        )
        super().__init__(endpoint, document.domain, context.effects.append, context.boundary)
        self._spread = Spread(self._endpoint, context.removal)
        self._rekeys = RekeySas(self._key, context.uniform)
        self._member = GroupMember((document.suite,), self._issuer_key, context.retained.minimum)
        self._schedule = Schedule(document.reconnect, context.uniform, eager=central is not None)
        self.connect_at: float | None = None
        """When the next contact is due; None while there is one."""
        self._tries = 0
        self._hint: int | None = None
        """How long the DKS last told us to stay away, until it has admitted us."""
        self._paced: dict[GroupId, float] = {}
        """Until when it told us not to come with each registration, whatever else gives us reason to."""
        self.sa: SaHandle | None = None
        self._asked: dict[GroupId, Register] = {}
        self._again_at: dict[GroupId, float] = {}
        self.last_contact: float | None = None
        self._plan(now, self._schedule.first())

    def _plan(self, now: float, wait_s: float) -> None:
        self.connect_at = now + wait_s
        if wait_s:
            self._context.event("dks_scheduled", at_s=round(self.connect_at, 6), wait_s=round(wait_s, 6))

    def _authenticate(
        self, claimed: Identification, credential: PeerCredential | None, peer: PeerAddress
    ) -> PeerKey | None:
        return PeerKey(self._key) if claimed == self._id else None

    def _issuer_key(self, _group: GroupId, issuer: Issuer) -> Ed25519PublicKey | None:
        return self._key if issuer == "dks" else None

    def is_from(self, datagram: Datagram) -> bool:
        """Whether the datagram came from an address of the DKS, in answer or over an SA that we began."""
        return datagram.peer.ip in {str(each) for each in self._entry.addresses}

    # -- input ---------------------------------------------------------------------------------------

    def receive(self, datagram: Datagram, now: float) -> None:
        """A datagram from the DKS's address."""
        if self._rekeys.is_message(datagram.data):
            self.boundary.run("GSA_REKEY", lambda: self._rekey_message(datagram, now))
        else:
            self._endpoint.receive(datagram, now)
        self._drain(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self.boundary.timer("DKS", lambda: self._due(now), now)
        self._endpoint.tick(now)
        self._drops.tick(now)
        self._drain(now)

    def _due(self, now: float) -> None:
        if self.connect_at is not None and self.connect_at <= now:
            self._connect(now)
        if self._ask_at is not None and self._ask_at <= now:
            self._ask(now)
        for group, when in list(self._again_at.items()):
            if when <= now:
                self._register(group, now)
        if self.central is not None:
            for group in self.central.tick(now):
                self._register(group, now)
        for group in self._rekeys.due(now):
            self._register(group, now)
        if self._report_at is not None and self._report_at <= now:
            self._report(now)
        self._confirm(now)

    def next_timer(self) -> float | None:
        """When something is due."""
        central = self.central.next_timer() if self.central is not None else None
        if self._confirming is not None and self.sa is not None and self.sa.established:
            central = earliest([central, self._confirming.next_timer()])
        timers = [self.connect_at, self._ask_at, self._report_at, *self._again_at.values()]
        due = self.boundary.due("DKS", earliest([*timers, central, self._rekeys.next_timer()]))
        return earliest([due, self._endpoint.next_timer(), self._drops.next_timer()])

    def _ask(self, now: float) -> None:
        self._ask_at = None
        if self.sa is not None and self.sa.established:
            self._ask_at = now + ask_every_s(self._context.document.lease.seconds)
            if self._renewing is None:
                self._renewing = RenewLease(self, now)
                self._endpoint.request(self.sa, ExchangeType.INFORMATIONAL, self._renewing, now)

    def hello(self) -> list[Payload]:
        """What we have, so that the DKS shows what it has."""
        return self._spread.hello()

    def renewed(self, request: RenewLease, payloads: Sequence[Payload], now: float) -> None:
        """The DKS has answered what was asked."""
        self._spread.heard(payloads, DKS_NAME, now)
        if request is self._renewing:
            self._renewing = None
            self._renew_lease(request.since, now)

    def not_renewed(self, request: RenewLease) -> None:
        """The DKS has not answered what was asked."""
        if request is self._renewing:
            self._renewing = None

    def _confirm(self, now: float) -> None:
        """Say what is in force, if that has changed: INFORMATIONAL with one notification."""
        confirming, sa = self._confirming, self.sa
        if confirming is None or sa is None or not sa.established or not confirming.due(now):
            return
        request = confirming.request(now)
        if request is not None:
            self._endpoint.request(sa, ExchangeType.INFORMATIONAL, request, now)

    def _connect(self, now: float) -> None:
        self.connect_at, self._connect_began = None, now
        # IPv4 first: the others come in turn when it does not answer.
        addresses = sorted(self._entry.addresses, key=lambda each: each.version)
        if not addresses:
            self._context.event("error", what="dks", detail="the DKS has no address")
            return
        address = addresses[self._tries % len(addresses)]
        self._tries += 1
        extra: list[Payload] = [*self._spread.hello(), *self._reported()[0]]
        if self._confirming is not None:
            extra += self._confirming.offer(now)
        first = self._member.request(self._control, extra=extra)
        self.sa = self._endpoint.connect(
            PeerAddress(str(address), self._entry.port, "", "", self._port), self._id, first, now
        )

    def _reported(self) -> list[list[Payload]]:
        """What our LKS did, as many states to a message as it takes: the first go with a registration."""
        found: list[Payload] = [notifies.group_report(state) for state in self._reports()]
        return [found[first : first + MOST_REPORTS] for first in range(0, max(1, len(found)), MOST_REPORTS)]

    def _report_rest(self, now: float) -> None:
        """The states that a registration had no room for, each batch in a message of its own."""
        if self.sa is not None:
            with contextlib.suppress(UnknownSa):
                for batch in self._reported()[1:]:
                    self._endpoint.request(self.sa, ExchangeType.INFORMATIONAL, Request(batch), now)

    # -- events --------------------------------------------------------------------------------------

    def _drain(self, now: float) -> None:
        super()._drain(now)
        if self.central is not None:
            self.central.note_keyed()

    def on_established(self, event: Established, now: float) -> None:
        self.last_contact = now
        self._schedule.succeeded()
        self._context.event("dks_contact", ok=True)
        self._spread.forget(DKS_NAME)
        self._renew_lease(self._connect_began, now)
        self._renewing = None
        self._ask_at = now + ask_every_s(self._context.document.lease.seconds)
        if self._put_off(self._control, event.payloads, now):
            if self._confirming is not None:
                self._confirming.parted()  # the DKS has read nothing of what came with the registration
        else:
            if self._confirming is not None:
                self._confirming.delivered(now)
            self._admitted(event.sa, event.payloads, now)

    def _admitted(self, sa: SaHandle, payloads: Sequence[Payload], now: float) -> None:
        """The DKS has answered at our control group: its policy, then all groups whose keys it gives out."""
        self._hint = None
        self._policy(payloads, now)
        self._spread.heard(payloads, DKS_NAME, now)
        self._spread.push(sa, DKS_NAME, now)
        self._report_rest(now)
        if self.central is not None:
            for group, _sender in self.central.groups():
                self._register(group, now)

    def _put_off(self, group: GroupId, payloads: Sequence[Payload], now: float) -> bool:
        """Whether the DKS has too many registrations at the moment, and told us when to come with this one again. It
        is asked over the IKE SA that stands: a handshake costs the DKS more than what it would refuse."""
        try:
            hint = notifies.find_reconnect_hint(payloads)
        except IkeError:
            return False  # whoever reads the rest of the answer says what is wrong with it
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
        self.sa, self._ask_at = None, None
        self._asked.clear()
        self._again_at.clear()
        self._report_at = None
        if self._confirming is not None:
            self._confirming.parted()
        self._context.event("dks_contact", ok=False, reason=event.reason.name.lower())
        hint, self._hint = self._hint, None
        self.connect_at = now + LIVENESS_S  # whatever becomes of the plan
        self._plan(now, self._schedule.failed() if hint is None else self._schedule.hinted(hint))

    def on_request(self, event: RequestReceived, now: float) -> None:
        """GSA_INBAND_REKEY: a policy, keys, or SAs to give up. It is answered when it is in force."""
        answer: list[Payload] = []
        if event.exchange == ExchangeType.INFORMATIONAL:
            answer = self._spread.answer(event.payloads, DKS_NAME, now)
        try:
            if event.exchange == ExchangeType.INFORMATIONAL and self._ordered is not None:
                groups = notifies.find_rekey_orders(event.payloads)
                if groups:
                    self._ordered(groups, now)
            if event.exchange == ExchangeType.GSA_INBAND_REKEY:
                self._policy(event.payloads, now)
                self._rekey(event, now)
        except (IkeError, PolicyError) as error:
            self._context.event("error", what="rekey", detail=str(error))
        self._respond(event.token, answer, now)

    def _rekey(self, event: RequestReceived, now: float) -> None:
        if self.central is None:
            return
        delete = parse_delete(event.payloads)
        if delete is not None:
            for group in self.central.delete(delete.spis, delete.everything):
                self._later(group, now)
        elif notifies.find_group_state(event.payloads) is not None:
            self._use(self._member.rekey(event.payloads, event.sa.key_wrap_key()), now, registration=False)

    def _rekey_message(self, datagram: Datagram, now: float) -> None:
        """GSA_REKEY: the DKS has no IKE SA with us, and tells us all the same. Nothing is answered."""
        try:
            told = self._rekeys.open(datagram.data, now)
            if told is None or self.central is None:
                return
            delete = parse_delete(told.payloads)
            if delete is not None and delete.excluded:
                self._context.event("excluded", group=str(told.group))
                self._rekeys.drop(told.group)
                self.central.give_up(told.group)
                self._later(told.group, now)
            elif delete is not None:
                for group in self.central.delete(delete.spis, delete.everything):
                    self._later(group, now)
            else:
                keys = self._member.rekey(told.payloads, told.key_wrap_key)
                if keys.group != told.group:
                    raise UnusableGroup(f"{told.group}: keys of another group under its Rekey SA")
                self._use(keys, now, registration=False)
                self._context.event("rekey_message", group=str(told.group), generation=keys.generation)
        except IntegrityFailure as error:
            self._drops.saw(datagram.peer.ip, f"GSA_REKEY: {error}", now)
        except (IkeError, PolicyError) as error:
            self._context.event("error", what="rekey message", detail=str(error))

    def _policy(self, payloads: Sequence[Payload], now: float) -> None:
        try:
            signed = notifies.find_policy_document(payloads)
        except IkeError as error:
            self._context.event("error", what="policy", detail=str(error))
            return
        if signed is not None:
            self._new_document(signed, now)

    # -- registration --------------------------------------------------------------------------------

    def _register(self, group: GroupId, now: float) -> None:
        self._again_at.pop(group, None)
        if self.sa is None or not self.sa.established or group in self._asked:
            return
        if now < self._paced.get(group, now):
            self._again_at[group] = self._paced[group]
            return
        if group.is_control:
            extra = [*self._spread.hello(), *self._reported()[0]]
            self._request_keys(group, self._member.request(group, extra=extra), now)
            return
        if self.central is None:
            return
        held, sender = self.central.held(group), group in self.central.sending
        if held is None:
            held = self._context.mark(group) if sender else self._context.retained.shown(group)
        extra = [] if held is None else [notifies.group_report(held)]
        self._request_keys(group, self._member.request(group, sender=sender, extra=extra), now)

    def order(self, group: GroupId, held: bytes, now: float) -> bool:
        """Ask for a new generation of an own group. `held`: our newest one's signed state. False without contact."""
        busy = self.sa is None or not self.sa.established or group in self._asked
        if busy or now < self._paced.get(group, now):
            return False
        payloads = self._member.request(group, sender=True, extra=[notifies.group_report(held)])
        self._request_keys(group, payloads, now)
        self._drain(now)
        return True

    def come_soon(self, now: float) -> None:
        """There is a policy for us that we do not have: do not wait for the schedule."""
        if self.connect_at is not None:
            self.connect_at = min(self.connect_at, now)

    def report_soon(self, now: float) -> None:
        """Our groups have generations that the DKS did not make. Without contact the next one reports them anyway."""
        if self._report_at is None and self.sa is not None and self.sa.established:
            self._report_at = max(now + REPORT_S, self._paced.get(self._control, now))

    def _report(self, now: float) -> None:
        self._report_at = None
        if self.sa is not None and self.sa.established and self._control not in self._asked:
            extra = self._reported()[0]
            self._request_keys(self._control, self._member.request(self._control, extra=extra), now)

    def _request_keys(self, group: GroupId, payloads: Sequence[Payload], now: float) -> None:
        assert self.sa is not None
        self._asked[group] = Register(self, group, payloads)
        self._endpoint.request(self.sa, ExchangeType.GSA_REGISTRATION, self._asked[group], now)

    def ends(self, request: Register) -> bool:
        """This request is over. Whether it was still waited for."""
        waited = self._asked.get(request.group) is request
        if waited:
            del self._asked[request.group]
        return waited

    def unanswered(self, group: GroupId, now: float) -> None:
        """A registration has no answer."""
        if self.central is not None:
            self._later(group, now)
        elif not group.is_control and self._issued is not None:
            self._issued(group, None, 0, now)

    def _given(self, group: GroupId, payloads: Sequence[Payload], now: float) -> None:
        """The answer to an order."""
        assert self.sa is not None
        self._put_off(group, payloads, now)
        if self._issued is None:
            return
        try:
            keys = self._member.answer(group, payloads, self.sa.key_wrap_key())
            version = verify_group_state(keys.state, self._key, group).v
        except (GroupRefused, IkeError, PolicyError) as error:
            self._context.event("error", what="order", group=str(group), detail=str(error))
            self._issued(group, None, 0, now)
            return
        try:
            self._issued(group, keys, version, now)
        except UnusableGroup as error:
            self._context.event("error", what="order", group=str(group), detail=str(error))

    def take(self, group: GroupId, payloads: Sequence[Payload], now: float) -> None:
        """The answer to a registration."""
        assert self.sa is not None
        if (group.is_control or self.central is not None) and self._put_off(group, payloads, now):
            return
        if group.is_control:
            self._admitted(self.sa, payloads, now)
            return
        if self.central is None:
            self._given(group, payloads, now)
            return
        try:
            kwk = self.sa.key_wrap_key()
            grant = rekey_sa(payloads, self._key, kwk)
            self._use(self._member.answer(group, payloads, kwk), now, registration=True)
            self._rekeys.take(group, grant, now)
        except (GroupRefused, IkeError, PolicyError) as error:
            self._context.event("error", what="registration", group=str(group), detail=str(error))
            self._later(group, now)

    def _use(self, keys: GroupKeys, now: float, *, registration: bool) -> None:
        assert self.central is not None
        self.central.check(keys)
        if keys.group in self.central.hearing:
            keys = bounded(keys, self._context.document.lifetimes)
        self._context.retained.took(verify_group_state(keys.state, self._key, keys.group), keys.state)
        self.central.take(keys, now, registration=registration)
        if registration:
            self._context.event("registered", group=str(keys.group), at="dks", generation=keys.generation)

    def _later(self, group: GroupId, now: float) -> None:
        self._again_at[group] = now + self._context.uniform(*RETRY_S)

    def pass_on(self, now: float) -> None:
        """Our revocation list, should the DKS have shown an older one."""
        if self.sa is not None and self.sa.established:
            self._spread.push(self.sa, DKS_NAME, now)
            self._drain(now)

    def stop(self, now: float) -> None:
        """Part from the DKS: another entry has taken its place."""
        self.connect_at = None
        if self.sa is not None:
            sa, self.sa = self.sa, None
            self._endpoint.close(sa, now)
        self._drain(now)

    def register_missing(self, now: float) -> None:
        """Policy has brought groups that have no keys yet."""
        if self.central is not None:
            for group, _sender in self.central.groups():
                if not self.central.has(group):
                    self._register(group, now)
        self._drain(now)
