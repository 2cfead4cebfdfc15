"""One own group: the router sends, and its LKS is the group's key server (GC/KS) for the neighbours.

Keys come from the LKS's own randomness, from the first second on, without any peer. Under `issuer: dks` the next keys
come from the DKS when it answers, and the LKS distributes them all the same: a group has one distributor, so receivers
get no conflicting keys. RFC 9838 §2.3 (registration), §2.4.2 (inband rekey), §4.4.3 (delays). Knows nothing of how IKE
SAs come about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.gikev2 import GroupKeys, KeyServer, RegistrationRequest, UnusableGroup, notifies
from agents.gikev2.keys import MAX_DELAY_S, make_group_keys, own_keys
from agents.ikev2 import (
    FailureReason,
    IkeEndpoint,
    Payload,
    Request,
    SaHandle,
    UnknownSa,
    UnsupportedAlgorithm,
)
from agents.ikev2.codec.payloads import first_error
from agents.ikev2.registry import ExchangeType, NotifyType
from agents.ipsec.protection import GroupSa
from agents.lks.context import Context
from agents.lks.generations import Sending, earliest
from agents.policy.errors import PolicyError
from agents.policy.group import MOST_AHEAD, GroupState, Issuer, SignedState, verify_issued_state
from agents.policy.keys import public_key_from_spki
from agents.policy.names import GroupId

REKEY_FRACTION = 0.75
"""A new generation is made when this fraction of the old one's lifetime is over, or up to a tenth of it earlier."""

PATIENCE_S = 30.0
"""The longest time for which the old generation is sent with while live members have not acknowledged the new one; or
as long as requests to the farthest of them are retransmitted. A member that does not answer loses its IKE SA by then,
and is no longer waited for."""

ATTEMPTS = 3
"""How often a rekey is sent again to a member that refuses it."""


DKS_PATIENCE_S = 5.0
"""The longest time for which a rekey waits for the DKS's answer, or two measured round trips to it; never more than a
tenth of a key's lifetime."""


class Orders(Protocol):
    """The path to a DKS that makes our groups' generations."""

    def order(self, group: GroupId, held: bytes, now: float) -> bool:
        """Ask for the generation after the one of this signed state; False when the DKS cannot be asked now."""

    def answer_within_s(self) -> float:
        """The longest measured time, in seconds, that the DKS takes to answer."""

    def report(self, now: float) -> None:
        """We have made a generation without the DKS: report it soon, or when the DKS is back."""


@dataclass(slots=True)
class _Ordered:
    reason: str
    excluding: bool
    until: float


class PushGeneration(Request):
    """GSA_INBAND_REKEY: a generation of ours to one member. Its payloads are made when it is sent; a newer generation
    cancels it."""

    def __init__(self, speaker: Speaker, keys: GroupKeys, router: str, sa: SaHandle) -> None:
        self._speaker, self._keys, self.router, self.sa = speaker, keys, router, sa

    def payloads(self) -> Sequence[Payload] | None:
        if self._keys.generation != self._speaker.generation:
            return None
        return KeyServer.rekey(self._keys, self.router, self.sa.key_wrap_key())

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        self._speaker.pushed(self, now, rejected=first_error(payloads) is not None)

    def failed(self, reason: FailureReason, now: float) -> None:
        self._speaker.pushed(self, now, failed=True)


class Speaker:
    """Keys, members and rekeys of one own group. `orders`: under `issuer: dks`."""

    def __init__(
        self, context: Context, endpoint: IkeEndpoint, group: GroupId, now: float, orders: Orders | None = None
    ) -> None:
        """Makes the first generation; the group is ready to send at once."""
        self._context, self._endpoint, self.group = context, endpoint, group
        self._orders = orders
        self._ordered: _Ordered | None = None
        self.sending = Sending(group, group.interface)
        self.members: dict[str, SaHandle] = {}
        self._pushes: set[PushGeneration] = set()  # of the newest generation, and unanswered
        self._registering: set[str] = set()  # have the active generation, and get the waiting one next
        self._attempts: dict[str, int] = {}
        self._ends: dict[int, float] = {}
        self._given: dict[int, set[str]] = {}  # generation → members that it was sent to
        self.rekey_at = now
        self.sending.begin(self._make(now))
        context.kernel_dirty = True

    def __str__(self) -> str:
        return f"speaker of {self.group}"

    @property
    def generation(self) -> int:
        """The newest generation."""
        keys = self.sending.waiting or self.sending.active
        return keys.generation if keys is not None else 0

    def sas(self) -> Iterator[GroupSa]:
        """The content that the kernel must have."""
        return self.sending.sas(lambda generation: self._ends.get(generation, math.inf))

    def _make(self, now: float) -> GroupKeys:
        context = self._context
        # Under another policy the DKS may have given this group's keys, and receivers keep the highest number.
        generation = context.next_generation(self.sending.held(), context.retained.floor(self.group)[1])
        state = GroupState.of(self.group, context.document.version, generation, "lks")
        signed = SignedState.sign(state, context.private_key)
        keys = make_group_keys(context.document, context.random, signed)
        self._lives(keys, now)
        return keys

    def _lives(self, keys: GroupKeys, now: float) -> None:
        life = self._context.document.lifetimes.group_s
        self.rekey_at = now + life * (REKEY_FRACTION - self._context.uniform(0, 0.1))
        held = set(self.sending.held())
        self._ends = {each: end for each, end in self._ends.items() if each in held}
        self._given = {each: whom for each, whom in self._given.items() if each in held}
        self._ends[keys.generation] = now + life
        self._given[keys.generation] = set()

    # -- registrations -------------------------------------------------------------------------------

    def register(self, request: RegistrationRequest, router: str, sa: SaHandle, now: float) -> list[Payload]:
        """The answer to a neighbour's registration; the caller has authenticated it as `router`."""
        context = self._context
        if context.document.may_join(self.group, router) is None:
            return KeyServer.reject(NotifyType.AUTHORIZATION_FAILED)
        if request.leaving:
            self.members.pop(router, None)
            return []
        if not request.supports(context.document.suite):
            return KeyServer.reject(NotifyType.NO_PROPOSAL_CHOSEN)
        if self.sending.active is None or request.sender:
            return KeyServer.reject(NotifyType.AUTHORIZATION_FAILED)
        try:
            kwk = sa.key_wrap_key()
        except UnsupportedAlgorithm:
            return KeyServer.reject(NotifyType.NO_PROPOSAL_CHOSEN)
        keys = self._to_give(request, router, now)
        self._given[keys.generation].add(router)
        self.members[router] = sa
        if self.sending.waiting is not None:
            self._registering.add(router)
        context.event("member", group=str(self.group), peer=router, generation=keys.generation)
        return KeyServer.answer(self.sending.floors(keys, context.last_sequence), router, kwk)

    def _to_give(self, request: RegistrationRequest, router: str, now: float) -> GroupKeys:
        """The keys for a neighbour's registration: those in use, unless it has had later ones.

        The neighbour may show a state that we signed, but did not give it since our start. Then our retained folder was
        lost or is an older one: nothing is given under a number that the neighbour has had, and we continue above it.
        """
        context, shown = self._context, self._state_shown(request)
        active = self.sending.active
        newest = self.sending.waiting or active
        assert active is not None and newest is not None
        if shown is None:
            return active
        if self._is_later(min(shown.v, context.document.version), shown.g, newest, router):
            context.event("behind", group=str(self.group), peer=router, version=shown.v, generation=shown.g)
            context.passed_generation(shown.g)
            self.members.pop(router, None)
            self._renew(self._make(now), now, "behind", excluding=False)
            if self._orders is not None:
                self._orders.report(now)
            active = self.sending.active or active
            newest = self.sending.waiting or active
        context.policy_shown = max(context.policy_shown, shown.v)
        return newest if self._is_later(shown.v, shown.g, active, router) else active

    def _is_later(self, version: int, generation: int, keys: GroupKeys, router: str) -> bool:
        """True if the neighbour's state is later than these keys, or has their number but is not theirs."""
        if generation == keys.generation and router not in self._given[generation]:
            return True
        return version > keys.state.said.v or generation > keys.generation

    def _state_shown(self, request: RegistrationRequest) -> GroupState | None:
        """Our last state of this group according to a neighbour, signed by us or by the DKS."""
        context = self._context

        def key_of(issuer: Issuer) -> Ed25519PublicKey:
            dks = context.document.dks.key
            return context.private_key.public_key() if issuer == "lks" else public_key_from_spki(dks)

        for signed in notifies.find_group_reports(request.payloads)[:1]:
            try:
                state = verify_issued_state(signed, key_of, self.group)
                if state.issuer == "dks":
                    self._check_believable(state.g)
                return state
            except (PolicyError, UnusableGroup) as error:
                context.event("error", what="shown state", group=str(self.group), detail=str(error))
        return None

    def _check_believable(self, generation: int) -> None:
        if generation > max(self.generation, self._context.retained.reserved) + MOST_AHEAD:
            raise UnusableGroup(f"{self.group}: generation {generation} is too far ahead")

    def registered(self, router: str, now: float) -> None:
        """The answer was sent: a generation that waits for its turn follows it."""
        if router in self._registering:
            self._registering.discard(router)
            if router in self.members:
                self._push(router, now)

    def forget(self, sa: SaHandle, now: float) -> None:
        """This IKE SA is gone, and the members that registered over it are no longer members (RFC 9838 §2.3.3)."""
        for router in [name for name, handle in self.members.items() if handle is sa]:
            del self.members[router]
            self._drop_pending(router, now)

    # -- rekeys ------------------------------------------------------------------------------------

    def rekey(self, now: float, reason: str, *, excluding: bool = False) -> None:
        """A new generation: members get it first, then it is sent with.

        The old one is sent with until every live member has the new one, up to the end of its lifetime. `excluding`: a
        holder of the old one must lose access after the policy's activation delay. Under `issuer: dks` the DKS is asked
        for it, and the LKS makes it when no answer comes in time.
        """
        if self._ordered is not None:
            self._ordered.excluding = self._ordered.excluding or excluding
            return
        newest = self.sending.waiting or self.sending.active
        if self._orders is not None and newest is not None and self._orders.order(self.group, newest.state.octets, now):
            patience_s = max(DKS_PATIENCE_S, 2 * self._orders.answer_within_s())
            patience_s = min(patience_s, self._context.document.lifetimes.group_s / 10)
            self._ordered = _Ordered(reason, excluding, now + patience_s)
            return
        self._renew(self._make(now), now, reason, excluding=excluding)
        if self._orders is not None:
            self._orders.report(now)

    def given(self, keys: GroupKeys, now: float) -> None:
        """The DKS's answer to `order`. UnusableGroup when policy forbids these keys or they come too late; then the LKS
        makes its own."""
        version = keys.state.said.v
        ordered, self._ordered = self._ordered, None
        try:
            keys = own_keys(keys, self._context.document)
            if ordered is None or keys.generation <= self.generation:
                raise UnusableGroup(f"{self.group}: generation {keys.generation} comes too late")
            self._check_believable(keys.generation)
            if version != self._context.document.version:
                raise UnusableGroup(f"{self.group}: keys under policy version {version}, which is not in force here")
            if self._context.clashes(keys.generation, self.sending.held()):
                raise UnusableGroup(f"{self.group}: generation {keys.generation} has SPIs that are in use")
        except UnusableGroup:
            self._ordered = ordered
            self.not_given(now)
            raise
        self._context.given_generation(keys.generation)
        self._lives(keys, now)
        self._renew(keys, now, ordered.reason, excluding=ordered.excluding)

    def not_given(self, now: float) -> None:
        """The DKS does not answer `order`, or not with keys: make them here."""
        ordered, self._ordered = self._ordered, None
        if ordered is not None:
            # The DKS may have recorded the next even number before its answer was lost. Above that number, its ledger
            # and our generation agree again as soon as we have reported.
            self._context.passed_generation(self.generation + 2 - self.generation % 2)
            self._renew(self._make(now), now, ordered.reason, excluding=ordered.excluding)
        if self._orders is not None:
            self._orders.report(now)

    def _renew(self, keys: GroupKeys, now: float, reason: str, *, excluding: bool) -> None:
        active = self.sending.active
        ends_at = now if active is None else self._ends[active.generation]
        slowest_s = max((sa.patience_s for sa in self.members.values()), default=0.0)
        patience_s = max(0.0, min(max(PATIENCE_S, slowest_s), ends_at - now))
        atd_s = keys.atd_s if excluding else max(keys.atd_s, math.ceil(patience_s))
        # Members get the longest time that we may take, since they must accept the old generation for that long.
        keys = replace(keys, atd_s=min(atd_s, MAX_DELAY_S))
        self._pushes, self._attempts = set(), {}
        self._registering.clear()
        # A generation that still waits for its turn never gets one: not all members may have it.
        self.sending.prepare(keys, now + keys.atd_s)
        self._context.kernel_dirty = True
        self._context.event("rekeyed", group=str(self.group), generation=keys.generation, reason=reason)
        for router in list(self.members):
            self._push(router, now)
        self._all_have_it(now)

    def exclude(self, routers: Iterable[str], now: float) -> None:
        """These neighbours are no longer allowed: they get no later generation."""
        for router in routers:
            self.members.pop(router, None)
            self._drop_pending(router, now)

    def _push(self, router: str, now: float) -> None:
        keys, sa = self.sending.waiting, self.members[router]
        if keys is None:
            return
        push = PushGeneration(self, keys, router, sa)
        try:
            self._endpoint.request(sa, ExchangeType.GSA_INBAND_REKEY, push, now)
        except UnknownSa:
            self.members.pop(router, None)
            return
        self._given[keys.generation].add(router)
        self._pushes.add(push)
        self._attempts[router] = self._attempts.get(router, 0) + 1

    def pushed(self, push: PushGeneration, now: float, *, rejected: bool = False, failed: bool = False) -> None:
        """The answer to a rekey, or None without one. A member that refuses could not use the new generation, and
        cannot decrypt it."""
        if push not in self._pushes:
            return  # there is a newer generation, or the member has left
        self._pushes.discard(push)
        router = push.router
        # Over another IKE SA than the closed one it may already be a member again.
        if failed and self.members.get(router) is push.sa:
            del self.members[router]
        if rejected:
            self._context.event("error", what="rekey refused", group=str(self.group), peer=router)
            if router in self.members and self._attempts.get(router, 0) < ATTEMPTS:
                self._push(router, now)
        self._all_have_it(now)

    def _drop_pending(self, router: str, now: float) -> None:
        pending = {push for push in self._pushes if push.router == router}
        if router in self._registering or pending:
            self._registering.discard(router)
            self._pushes -= pending
            self._all_have_it(now)

    def _all_have_it(self, now: float) -> None:
        """No member is waited for any more: the activation delay need not run out."""
        if not self._pushes and not self._registering and self.sending.activate(now):
            self._context.kernel_dirty = True

    # -- time --------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.sending.tick(now):
            self._context.kernel_dirty = True
        if self._ordered is not None:
            if now >= self._ordered.until:
                self.not_given(now)
        elif now >= self.rekey_at:
            self.rekey(now, "lifetime")

    def next_timer(self) -> float | None:
        """When something is due."""
        due = self.rekey_at if self._ordered is None else self._ordered.until
        return earliest([due, self.sending.next_timer()])
