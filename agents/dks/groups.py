"""Groups whose keys the DKS makes: their generations, members and rekeys (RFC 9838 §2.3, §2.4.2).

A member whose IKE SA is gone stays a member, and gets its keys under its Rekey SA, until it is excluded. For speakers
with a Local Key Server, the DKS makes generations on demand, and the LKS has the members.

The signed documents of speaker and member decide about access: both must allow it. Knows nothing of how IKE SAs come
about.
"""

from __future__ import annotations

import heapq
import itertools
import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.dks.documents import Documents
from agents.dks.rekey_sas import COPIES_S, RekeySas
from agents.dks.store import GenerationLedger, Wish
from agents.gikev2 import GroupKeys, KeyServer, RegistrationRequest, notifies
from agents.gikev2.keys import MAX_DELAY_S, make_group_keys
from agents.gikev2.server import MemberRekeySa
from agents.ikev2 import FailureReason, IkeEndpoint, IkeError, Payload, PeerAddress, Request, SaHandle, UnknownSa
from agents.ikev2.codec.payloads import first_error
from agents.ikev2.registry import ExchangeType, NotifyType
from agents.policy.document import PolicyDocument
from agents.policy.errors import PolicyError
from agents.policy.group import MOST_AHEAD, GroupState, SignedState, verify_issued_state
from agents.policy.keys import public_key_from_spki, spki
from agents.policy.names import GroupId
from agents.runtime.effects import Event, Send

REKEY_FRACTION = 0.75
RETURN_S = 120
"""How long a speaker with keys continues to use them while its receivers come back to a DKS that was away: by then all
have noticed its absence."""
DOUBT_S = 1.0
"""The time after an unanswered push at which the member gets the same keys under its Rekey SA; longer if its answers
take longer. It may have lost its IKE SA without our knowledge, and would have no keys until the push is given up."""
FAR_S = 1.0
"""Members whose answers take longer do not fit the usual delays: half of the old keys' last quarter is theirs to answer
in, and receivers accept the old keys to their end."""
AGAIN_S = 30.0
"""When a group is tried again whose rekey the ledger refused."""
PLACES = 1 << 20
"""The number of positions above its ledger at which a DKS that gives keys to all members may begin."""
SET_ASIDE = 512
"""The number of groups of routers that have not asked yet for which one transaction of the ledger reserves numbers."""
EXCLUDING = frozenset({"revocation", "policy"})
EventSink = Callable[[Event], None]


@dataclass(slots=True)
class _Group:
    keys: GroupKeys
    rekey_at: float
    sent_with: bool = False  # the speaker has had these keys
    members: dict[str, SaHandle] = field(default_factory=dict)
    apart: dict[str, PeerAddress] = field(default_factory=dict)  # members without an IKE SA, with their last address
    has: dict[str, int] = field(default_factory=dict)  # the generation that a member is known to have
    sent: dict[str, int] = field(default_factory=dict)  # the generation that was last sent to it under its Rekey SA
    gave: dict[str, int] = field(default_factory=dict)  # the highest generation that was sent to it since our start
    heard_s: int = 0  # the least time for which receivers accept the older keys
    blind: bool = False  # receivers without an IKE SA, which acknowledge nothing, have been sent the keys
    unanswered: set[PushGeneration] = field(default_factory=set)  # to receivers
    awaited: set[str] = field(default_factory=set)  # receivers that have not come back to us yet
    speaker_at: float | None = None  # when the speaker gets it although receivers have not answered
    looked_at: float | None = None  # the time of its next action

    @property
    def due(self) -> float:
        """The time of the next change without other events."""
        return self.rekey_at if self.speaker_at is None else min(self.rekey_at, self.speaker_at)

    def for_(self, router: str) -> GroupKeys:
        """The keys in the form for this member."""
        if router == self.keys.group.router:
            return self.keys
        return replace(self.keys, atd_s=max(self.keys.atd_s, min(self.heard_s, MAX_DELAY_S)))

    def to_renew(self, held: int | None) -> bool:
        """True if a sender that registers, and holds this generation, must get a new one.

        A sender without keys has lost count of what it sent, and nothing may be sent twice under one key. A sender with
        a later generation than ours, or with ours before we gave it, shows that our ledger is not the newest.
        """
        if held is None:
            return self.sent_with
        return held > self.keys.generation or (held == self.keys.generation and not self.sent_with)

    def given(self, router: str, generation: int) -> bool:
        """True if this router has had this generation from us since our start."""
        return generation <= self.gave.get(router, 0)


class PushGeneration(Request):
    """GSA_INBAND_REKEY: a group's newest keys to one member. `doubt_at`: when they are sent under the Rekey SA as well;
    None: never, or no longer."""

    def __init__(self, groups: Groups, known: _Group, router: str, sa: SaHandle, now: float) -> None:
        self._groups, self.known, self.router, self.sa = groups, known, router, sa
        self.generation = known.keys.generation
        self.doubt_at: float | None = now + max(DOUBT_S, sa.answer_within_s)

    def payloads(self) -> Sequence[Payload] | None:
        if self.generation != self.known.keys.generation:
            return None
        return KeyServer.rekey(self.known.for_(self.router), self.router, self.sa.key_wrap_key())

    def answered(self, payloads: Sequence[Payload], now: float) -> None:
        if self.router in self.known.members and first_error(payloads) is None:
            self.known.has[self.router] = self.generation
        self._groups.ended(self, now)

    def failed(self, reason: FailureReason, now: float) -> None:
        self._groups.ended(self, now)


class Groups:
    """All groups under `issuer: dks`."""

    def __init__(
        self,
        endpoint: IkeEndpoint,
        documents: Documents,
        ledger: GenerationLedger,
        key: Ed25519PrivateKey,
        random: Callable[[int], bytes],
        event: EventSink,
        send: Callable[[Send], None],
        *,
        alone: bool = True,
    ) -> None:
        """`alone`: no other process serves routers of this domain. A DKS that gives keys to all members must be
        alone."""
        self.alone = alone
        self._endpoint, self._documents, self._ledger, self._key = endpoint, documents, ledger, key
        self._random, self._event = random, event
        self._spki = spki(key)
        self._rekeys = RekeySas(key, random, send)
        self._to_come: Iterator[str] | None = None
        ledger.begin(alone=alone)
        self._groups: dict[GroupId, _Group] = {}
        # No datagram may cost a scan of all groups: a large domain has hundreds of thousands.
        self._due: list[tuple[float, int, GroupId, _Group]] = []
        self._doubts: list[tuple[float, int, PushGeneration]] = []
        self._over: dict[SaHandle, dict[GroupId, None]] = {}
        self._number = itertools.count()

    def __len__(self) -> int:
        return len(self._groups)

    def status(self) -> dict[str, dict[str, object]]:
        """Generation and members of every group, by its name."""
        return {
            str(group): {
                "generation": known.keys.generation,
                "members": sorted(known.members),
                "apart": sorted(known.apart),
            }
            for group, known in self._groups.items()
        }

    def register(self, request: RegistrationRequest, router: str, sa: SaHandle, now: float) -> list[Payload]:
        """The answer to a registration of an authenticated router."""
        group = request.group
        speaker = self._documents.of(group.router)
        if speaker is None or not speaker.speaks(group):
            return KeyServer.reject(NotifyType.INVALID_GROUP_ID)
        if (
            speaker.issuer_of(group) != "dks"
            or not self._may(speaker, group, router)
            or request.sender != (router == group.router)
        ):
            return KeyServer.reject(NotifyType.AUTHORIZATION_FAILED)
        if speaker.local_key_server:
            if not request.sender:
                return KeyServer.reject(NotifyType.AUTHORIZATION_FAILED)  # members belong to the speaker's LKS
            return self._issue(request, speaker, sa)
        if not self.alone:
            detail = "a speaker without a Local Key Server has its keys from a DKS with workers = 1"
            self._event(Event("error", {"what": "registration", "group": str(group), "detail": detail}))
            return KeyServer.reject(NotifyType.REGISTRATION_FAILED)
        if request.leaving:
            if group in self._groups:
                self._forget_member(self._groups[group], router)
            return []
        if not request.supports(speaker.suite):
            return KeyServer.reject(NotifyType.NO_PROPOSAL_CHOSEN)
        known = self._groups.get(group)
        try:
            kwk = sa.key_wrap_key()
            held, theirs = self._state_shown(request, speaker)
            if known is None:
                known = self._groups[group] = self._make(speaker, group, now)
            elif request.sender and known.to_renew(held):
                self._renew(known, speaker, now, "sender registered", except_router=router)
            elif theirs is not None and theirs >= known.keys.generation and not known.given(router, theirs):
                # Our ledger was older than it is now when we made this generation, and the sender has had another key.
                self._renew(known, speaker, now, "ledger was older", except_router=router)
        except (IkeError, PolicyError) as error:
            self._event(Event("error", {"what": "registration", "group": str(group), "detail": str(error)}))
            return KeyServer.reject(NotifyType.REGISTRATION_FAILED)
        keys = known.keys
        if request.sender and held is not None and held < keys.generation and not known.sent_with:
            here = {*known.members, *known.apart}
            known.awaited = {each for each in self._receivers(speaker, group) if each not in here}
            if known.awaited:
                known.speaker_at = now + RETURN_S
                self._look_later(known)
                keys = replace(keys, atd_s=RETURN_S)
        known.sent_with = known.sent_with or request.sender
        known.members[router] = sa
        self._over.setdefault(sa, {})[group] = None
        known.apart.pop(router, None)
        known.has[router] = known.gave[router] = keys.generation
        if router in known.awaited:
            known.awaited.discard(router)
            self._to_speaker(known, now)
        self._event(Event("registered", {"peer": router, "group": str(group), "generation": keys.generation}))
        grant = self._rekeys.grant(group, router, speaker.lifetimes.ike_s, now)
        rekey_sa = MemberRekeySa(grant, (sa.peer.ip, sa.peer.port), self._spki)
        return KeyServer.answer(keys, router, kwk, rekey_sa=rekey_sa)

    def _issue(self, request: RegistrationRequest, speaker: PolicyDocument, sa: SaHandle) -> list[Payload]:
        """A new generation for a speaker whose own LKS distributes it, and makes one itself when we do not.

        It is above the one that the speaker shows in a state signed by its LKS or by us. Only its number is kept: a DKS
        that restarts has lost nothing.
        """
        group = request.group
        try:
            if not request.supports(speaker.suite):
                return KeyServer.reject(NotifyType.NO_PROPOSAL_CHOSEN)
            kwk = sa.key_wrap_key()
            reports = notifies.find_group_reports(request.payloads)
            if len(reports) != 1:
                raise PolicyError(f"{group}: a speaker must show which generation it has")
            keys = {"dks": self._key.public_key(), "lks": public_key_from_spki(speaker.identity)}
            state = verify_issued_state(reports[0], keys.get, group)
            newest = speaker.version if state.issuer == "lks" else None
            self._ledger.reported(group, state.v, state.g, key=speaker.identity, newest_version=newest)
            # Numbers that the speaker has not seen never arrived, or were given to others while we made the keys alone.
            # If our ledger is an older copy, it may lack the ones after them.
            unseen = self._ledger.last(group, speaker.identity)[1] > state.g
            made = self._keys(speaker, group, self._first_above(speaker) if unseen else 0)
        except (IkeError, PolicyError) as error:
            self._event(Event("error", {"what": "registration", "group": str(group), "detail": str(error)}))
            return KeyServer.reject(NotifyType.REGISTRATION_FAILED)
        fields = {"peer": group.router, "group": str(group), "generation": made.generation, "after": state.g}
        self._event(Event("issued", fields))
        return KeyServer.answer(made, group.router, kwk)

    def _state_shown(self, request: RegistrationRequest, speaker: PolicyDocument) -> tuple[int | None, int | None]:
        """The generation that a speaker sends with, from a state signed by us, and the highest that a member has seen,
        from a state signed by us or the speaker. From these a restored ledger learns how far it had been."""
        group = request.group
        for signed in notifies.find_group_reports(request.payloads)[:1]:
            keys = {"dks": self._key.public_key(), "lks": public_key_from_spki(speaker.identity)}
            try:
                state = verify_issued_state(signed, keys.get, group)
            except PolicyError:
                return None, None  # as if it had shown nothing, which is safe
            if state.issuer != "dks" and (
                state.v > speaker.version or state.g > self._ledger.last(group, speaker.identity)[1] + MOST_AHEAD
            ):
                detail = f"{group.router} says that there was generation {state.g} under version {state.v}"
                self._event(Event("error", {"what": "registration", "group": str(group), "detail": detail}))
                return None, None
            self._ledger.reported(group, state.v, state.g, key=speaker.identity)
            return (state.g if state.issuer == "dks" else None), state.g
        return None, None

    def _receivers(self, speaker: PolicyDocument, group: GroupId) -> list[str]:
        interface = speaker.interface(group.interface)
        names = [each.router for each in interface.neighbors] if interface is not None else []
        return [name for name in names if self._may(speaker, group, name)]

    def _may(self, speaker: PolicyDocument, group: GroupId, router: str) -> bool:
        if router == group.router:
            return True
        member = self._documents.of(router)
        if member is None or speaker.may_join(group, router) is None:
            return False
        return member.hears(group)

    def _keys(self, speaker: PolicyDocument, group: GroupId, ahead: int = 0) -> GroupKeys:
        generation = self._ledger.next(
            group, speaker.version, key=speaker.identity, ahead=ahead, others=lambda: self._soon(speaker)
        )
        state = SignedState.sign(GroupState.of(group, speaker.version, generation, "dks"), self._key)
        return make_group_keys(speaker, self._random, state)

    def _soon(self, speaker: PolicyDocument) -> Iterator[Wish]:
        """The speaker's groups, and some of routers that have not asked yet: when the power returns all ask. Another
        process of this DKS would reserve numbers of the same routers, and neither could use them."""
        yield from self._wishes(speaker)
        if self._to_come is None:
            self._to_come = iter(self._documents.routers() if self.alone else ())
        count = 0
        while count < SET_ASIDE and (name := next(self._to_come, None)) is not None:
            document = self._documents.of(name)
            for wish in () if document is None or name == speaker.router else self._wishes(document):
                count += 1
                yield wish

    def _wishes(self, speaker: PolicyDocument) -> Iterator[Wish]:
        for group in speaker.own_groups():
            if speaker.issuer_of(group) == "dks":
                first = group not in self._groups and not speaker.local_key_server
                yield Wish(group, speaker.identity, self._first_above(speaker) if first else 0)

    def _first_above(self, speaker: PolicyDocument) -> int:
        """How far above the ledger a number is that no other party is likely to reach. SPIs continue in order."""
        return int.from_bytes(self._random(4), "big") % PLACES << speaker.spi.generation_bits

    def _make(self, speaker: PolicyDocument, group: GroupId, now: float) -> _Group:
        # Our ledger may be an older copy, and the members with later keys may not have visited us yet. So each of our
        # starts begins at a random generation, and SPIs continue in order.
        known = _Group(
            self._keys(speaker, group, self._first_above(speaker)), now + speaker.lifetimes.group_s * REKEY_FRACTION
        )
        self._look_later(known)
        return known

    def _renew(self, known: _Group, speaker: PolicyDocument, now: float, reason: str, except_router: str = "") -> None:
        group = known.keys.group
        known.keys = self._keys(speaker, group)
        known.rekey_at = now + speaker.lifetimes.group_s * REKEY_FRACTION
        known.sent_with = False
        fields = {"group": str(group), "generation": known.keys.generation, "reason": reason}
        self._event(Event("rekeyed", {**fields, "members": len(known.members), "apart": len(known.apart)}))
        left_s = speaker.lifetimes.group_s * (1 - REKEY_FRACTION)
        # An excluded router must lose access soon: then no wait is longer than policy says.
        far = reason not in EXCLUDING and any(sa.answer_within_s > FAR_S for sa in known.members.values())
        known.heard_s = math.ceil(left_s) if far else 0
        # Receivers first: then all of them can decrypt what the speaker sends with the new keys.
        known.unanswered, known.awaited = set(), set()
        others = {except_router, group.router}
        for router in [each for each in known.apart if each not in others]:
            self._send_apart(known, router, now)
        for router in [each for each in known.members if each not in others]:
            self._push(known, router, now)
        known.blind = bool(set(known.apart) - others)
        wait_s = max(1, speaker.lifetimes.atd_s, COPIES_S[-1] if known.blind else 0)
        known.speaker_at = now + max(wait_s, left_s / 2 if far else 0)
        if group.router == except_router or group.router not in {*known.members, *known.apart}:
            known.speaker_at = None
        self._to_speaker(known, now)
        self._look_later(known)

    def _to_speaker(self, known: _Group, now: float) -> None:
        """It is the speaker's turn: all receivers have answered, or have had their time."""
        waiting = known.unanswered or known.awaited or known.blind
        if known.speaker_at is not None and (not waiting or known.speaker_at <= now):
            known.speaker_at, known.awaited, known.blind = None, set(), False
            speaker = known.keys.group.router
            if speaker in known.members:
                self._push(known, speaker, now)
                known.sent_with = True
            elif speaker in known.apart:
                self._send_apart(known, speaker, now)
                known.sent_with = True

    def _push(self, known: _Group, router: str, now: float) -> None:
        sa = known.members[router]
        push = PushGeneration(self, known, router, sa, now)
        try:
            self._endpoint.request(sa, ExchangeType.GSA_INBAND_REKEY, push, now)
        except UnknownSa:
            self._part(known, router, sa.peer, now)
            return
        known.gave[router] = known.keys.generation
        heapq.heappush(self._doubts, (push.doubt_at or now, next(self._number), push))
        if router != known.keys.group.router:
            known.unanswered.add(push)

    def _doubt(self, now: float) -> None:
        while (push := self._in_doubt()) is not None and push.doubt_at is not None and push.doubt_at <= now:
            push.doubt_at, known = None, push.known
            if push.router in known.members and push.generation == known.keys.generation:
                self._send_rekey(known, push.router, push.sa.peer, now)

    def _in_doubt(self) -> PushGeneration | None:
        """The next unanswered push to doubt."""
        while self._doubts and self._doubts[0][2].doubt_at is None:
            heapq.heappop(self._doubts)
        return self._doubts[0][2] if self._doubts else None

    def _send_apart(self, known: _Group, router: str, now: float) -> None:
        """GSA_REKEY to a member without an IKE SA. It is no longer a member when its Rekey SA is over."""
        if not self._send_rekey(known, router, known.apart[router], now):
            self._forget_member(known, router)

    def _send_rekey(self, known: _Group, router: str, peer: PeerAddress, now: float) -> bool:
        """GSA_REKEY with the newest keys; False when the member has no Rekey SA."""

        def payloads(kwk: bytes) -> list[Payload]:
            return KeyServer.rekey(known.for_(router), router, kwk)

        group = known.keys.group
        if not self._rekeys.send(group, router, peer, payloads, now):
            return False
        fields = {"peer": router, "group": str(group), "generation": known.keys.generation}
        self._event(Event("rekey_message", fields))
        known.sent[router] = known.gave[router] = known.keys.generation
        return True

    def _part(self, known: _Group, router: str, peer: PeerAddress, now: float) -> None:
        """This member's IKE SA is gone; unacknowledged keys go to it under its Rekey SA."""
        del known.members[router]
        if not self._rekeys.holds(known.keys.group, router, now):
            known.has.pop(router, None)
            return
        known.apart[router] = peer
        speaker = known.keys.group.router
        its_turn = router != speaker or (known.sent_with and known.speaker_at is None)
        if its_turn and known.keys.generation not in (known.has.get(router), known.sent.get(router)):
            self._send_apart(known, router, now)

    def _forget_member(self, known: _Group, router: str) -> None:
        known.members.pop(router, None)
        known.apart.pop(router, None)
        known.has.pop(router, None)
        known.sent.pop(router, None)
        self._rekeys.forget(known.keys.group, router)

    def _exclude(self, known: _Group, router: str, now: float) -> None:
        """It may no longer be a member. Over an IKE SA its new policy says so; without one, a GSA_REKEY does."""
        if router in known.apart:
            self._rekeys.send(known.keys.group, router, known.apart[router], lambda _kwk: KeyServer.exclude(), now)
            self._event(Event("excluded", {"peer": router, "group": str(known.keys.group)}))
        self._forget_member(known, router)

    def ended(self, push: PushGeneration, now: float) -> None:
        """A push was answered, or will not be."""
        push.doubt_at, known = None, push.known
        if push in known.unanswered:
            known.unanswered.discard(push)
            self._to_speaker(known, now)

    def rekey(self, group: GroupId, now: float, reason: str) -> None:
        """A new generation for all members that policy still allows."""
        known, speaker = self._groups.get(group), self._documents.of(group.router)
        if known is None:
            return
        gone = speaker is None or not speaker.speaks(group)
        if speaker is None or gone or speaker.issuer_of(group) != "dks" or speaker.local_key_server:
            for name in [*known.members, *known.apart]:
                self._exclude(known, name, now)
            del self._groups[group]
            return
        for name in [*known.members, *known.apart]:
            if not self._may(speaker, group, name):
                self._exclude(known, name, now)
        self._renew(known, speaker, now, reason)

    def policy_changed(self, router: str, now: float) -> None:
        """This router has a new document: members that it does not allow any more lose the next generation."""
        for group, known in list(self._groups.items()):
            members = {*known.members, *known.apart}
            if router != group.router and router not in members:
                continue
            speaker = self._documents.of(group.router)
            if speaker is None or any(not self._may(speaker, group, name) for name in members):
                self.rekey(group, now, "policy")

    def forget(self, sa: SaHandle, now: float) -> None:
        """This IKE SA is gone. A member that registered over it stays a member if it has a Rekey SA (RFC 9838
        §2.3.3)."""
        for group in self._over.pop(sa, ()):
            known = self._groups.get(group)
            if known is not None:
                for router in [name for name, handle in known.members.items() if handle is sa]:
                    self._part(known, router, sa.peer, now)

    def tick(self, now: float) -> None:
        """Rekey the groups whose keys are old."""
        self._doubt(now)
        self._rekeys.tick(now)
        while (due := self._next_due()) is not None and due <= now:
            _when, _number, group, known = heapq.heappop(self._due)
            known.looked_at = None
            self._to_speaker(known, now)
            if known.rekey_at <= now:
                try:
                    self.rekey(group, now, "lifetime")
                except (PolicyError, sqlite3.Error) as error:
                    # The old keys end by themselves. Others continue.
                    self._event(Event("error", {"what": "rekey", "group": str(group), "detail": str(error)}))
                    known.rekey_at = now + AGAIN_S
            if self._groups.get(group) is known:
                self._look_later(known)

    def _look_later(self, known: _Group) -> None:
        """Schedule this group's next action."""
        if known.looked_at is None or known.due < known.looked_at:
            known.looked_at = known.due
            heapq.heappush(self._due, (known.due, next(self._number), known.keys.group, known))

    def _next_due(self) -> float | None:
        due = self._due
        while due and (due[0][3].looked_at != due[0][0] or self._groups.get(due[0][2]) is not due[0][3]):
            heapq.heappop(due)
        return due[0][0] if due else None

    def next_timer(self) -> float | None:
        """When the next rekey is due."""
        push = self._in_doubt()
        times = (self._next_due(), push.doubt_at if push is not None else None, self._rekeys.next_timer())
        return min((each for each in times if each is not None), default=None)
