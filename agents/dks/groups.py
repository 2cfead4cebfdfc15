"""Groups whose keys the DKS makes: their generations, members and rekeys (RFC 9838 §2.3, §2.4.2).

Where speakers have a Local Key Server, the DKS makes generations for it on demand, and members are that one's.

Who may have what is read from the signed documents of speaker and member: both must say so.
Knows nothing of how IKE SAs come about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.dks.documents import Documents
from agents.dks.store import GenerationBook
from agents.gikev2 import GroupKeys, KeyServer, RegistrationRequest, notifies
from agents.gikev2.keys import make_group_keys
from agents.ikev2 import IkeEndpoint, IkeError, Payload, SaHandle
from agents.ikev2.registry import ExchangeType, NotifyType
from agents.policy.document import PolicyDocument
from agents.policy.errors import PolicyError
from agents.policy.group import GroupState, sign_group_state, verify_group_state, verify_issued_state
from agents.policy.keys import public_key_from_spki
from agents.policy.names import GroupId
from agents.runtime.effects import Event

REKEY_FRACTION = 0.75
RETURN_S = 120
"""How long a speaker that still has keys goes on with them while its receivers come back to a DKS that was away:
by then all have noticed that it was."""
EventSink = Callable[[Event], None]


@dataclass(slots=True)
class _Group:
    keys: GroupKeys
    rekey_at: float
    sent_with: bool = False  # the speaker has had these keys
    members: dict[str, SaHandle] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)  # pushes to receivers
    awaited: set[str] = field(default_factory=set)  # receivers that have not come back to us yet
    speaker_at: float | None = None  # when the speaker gets it though receivers have not answered

    def to_renew(self, held: int | None) -> bool:
        """Whether a sender that registers, and holds this generation, must get a new one.

        One that holds none has lost count of what it sent, and nothing may be sent twice under one key. One that
        holds a later generation than ours, or ours before we gave it, shows that our book is not the newest.
        """
        if held is None:
            return self.sent_with
        return held > self.keys.generation or (held == self.keys.generation and not self.sent_with)


class Groups:
    """All groups under `issuer: dks`."""

    def __init__(
        self,
        endpoint: IkeEndpoint,
        documents: Documents,
        book: GenerationBook,
        key: Ed25519PrivateKey,
        random: Callable[[int], bytes],
        event: EventSink,
    ) -> None:
        self._endpoint, self._documents, self._book, self._key = endpoint, documents, book, key
        self._random, self._event = random, event
        self._groups: dict[GroupId, _Group] = {}
        self._pushed: dict[int, _Group] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def status(self) -> dict[str, dict[str, object]]:
        """Generation and members of every group, by its name."""
        return {
            str(group): {"generation": known.keys.generation, "members": sorted(known.members)}
            for group, known in self._groups.items()
        }

    def register(self, request: RegistrationRequest, router: str, sa: SaHandle, now: float) -> list[Payload]:
        """The answer to a registration of an authenticated router."""
        group = request.group
        speaker = self._documents.of(group.router)
        if speaker is None or group not in speaker.own_groups():
            return KeyServer.refuse(NotifyType.INVALID_GROUP_ID)
        if (
            speaker.issuer != "dks"
            or not self._may(speaker, group, router)
            or request.sender != (router == group.router)
        ):
            return KeyServer.refuse(NotifyType.AUTHORIZATION_FAILED)
        if speaker.local_key_server:
            if not request.sender:
                return KeyServer.refuse(NotifyType.AUTHORIZATION_FAILED)  # members are the speaker's LKS's
            return self._issue(request, speaker, sa)
        if request.leaving:
            if group in self._groups:
                self._groups[group].members.pop(router, None)
            return []
        if not request.supports(speaker.suite):
            return KeyServer.refuse(NotifyType.NO_PROPOSAL_CHOSEN)
        known = self._groups.get(group)
        try:
            kwk = sa.key_wrap_key()
            held = self._held(request) if request.sender else None
            if known is None:
                known = self._groups[group] = self._make(speaker, group, now)
            elif request.sender and known.to_renew(held):
                self._renew(known, speaker, now, "sender registered", except_router=router)
        except (IkeError, PolicyError) as error:
            self._event(Event("error", {"what": "registration", "group": str(group), "detail": str(error)}))
            return KeyServer.refuse(NotifyType.REGISTRATION_FAILED)
        keys = known.keys
        if held is not None and held < keys.generation and not known.sent_with:
            known.awaited = {each for each in self._receivers(speaker, group) if each not in known.members}
            if known.awaited:
                known.speaker_at = now + RETURN_S
                keys = replace(keys, atd_s=RETURN_S)
        known.sent_with = known.sent_with or request.sender
        known.members[router] = sa
        if router in known.awaited:
            known.awaited.discard(router)
            self._to_speaker(known, now)
        self._event(Event("registered", {"peer": router, "group": str(group), "generation": keys.generation}))
        return KeyServer.answer(keys, router, kwk)

    def _issue(self, request: RegistrationRequest, speaker: PolicyDocument, sa: SaHandle) -> list[Payload]:
        """A new generation for a speaker whose own LKS gives it to the members, and which makes one when we do not.

        It is above the one that the speaker shows in its LKS's or our signed words. Nothing of it is kept but its
        number: a DKS that restarts has lost nothing.
        """
        group = request.group
        try:
            if not request.supports(speaker.suite):
                return KeyServer.refuse(NotifyType.NO_PROPOSAL_CHOSEN)
            kwk = sa.key_wrap_key()
            shown = notifies.find_group_reports(request.payloads)
            if len(shown) != 1:
                raise PolicyError(f"{group}: a speaker has to show which generation it has")
            keys = {"dks": self._key.public_key(), "lks": public_key_from_spki(speaker.identity)}
            state = verify_issued_state(shown[0], keys.get, group)
            self._book.reported(group, state.v, state.g)
            made = self._keys(speaker, group, even=True)
        except (IkeError, PolicyError) as error:
            self._event(Event("error", {"what": "registration", "group": str(group), "detail": str(error)}))
            return KeyServer.refuse(NotifyType.REGISTRATION_FAILED)
        fields = {"peer": group.router, "group": str(group), "generation": made.generation, "after": state.g}
        self._event(Event("issued", fields))
        return KeyServer.answer(made, group.router, kwk)

    def _held(self, request: RegistrationRequest) -> int | None:
        """The generation that a sender says it sends with, in our own signed words; None when it has none."""
        for signed in notifies.find_group_reports(request.payloads)[:1]:
            try:
                state = verify_group_state(signed, self._key.public_key(), request.group)
            except PolicyError:
                return None  # not our word: as if it had said nothing, which is safe
            self._book.reported(request.group, state.v, state.g)  # a book that was restored learns how far it had been
            return state.g
        return None

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
        return any(each == group for _interface, _neighbor, each in member.neighbor_groups())

    def _keys(self, speaker: PolicyDocument, group: GroupId, *, even: bool = False) -> GroupKeys:
        generation = self._book.next(group, speaker.version, even=even)
        state = sign_group_state(GroupState.of(group, speaker.version, generation, "dks"), self._key)
        return make_group_keys(speaker, group, generation, self._random, state)

    def _make(self, speaker: PolicyDocument, group: GroupId, now: float) -> _Group:
        return _Group(self._keys(speaker, group), now + speaker.lifetimes.group_s * REKEY_FRACTION)

    def _renew(self, known: _Group, speaker: PolicyDocument, now: float, reason: str, except_router: str = "") -> None:
        group = known.keys.group
        known.keys = self._keys(speaker, group)
        known.rekey_at = now + speaker.lifetimes.group_s * REKEY_FRACTION
        known.sent_with = False
        fields = {"group": str(group), "generation": known.keys.generation, "reason": reason}
        self._event(Event("rekeyed", {**fields, "members": len(known.members)}))
        # Receivers first: what the speaker sends with the new keys is then understood by all.
        known.unanswered, known.awaited = set(), set()
        for router in list(known.members):
            if router not in (except_router, group.router):
                self._push(known, router, now)
        known.speaker_at = now + max(1, speaker.lifetimes.atd_s)
        if group.router == except_router or group.router not in known.members:
            known.speaker_at = None
        self._to_speaker(known, now)

    def _to_speaker(self, known: _Group, now: float) -> None:
        """The speaker's turn has come when all receivers have answered, or have had their time."""
        waiting = known.unanswered or known.awaited
        if known.speaker_at is not None and (not waiting or known.speaker_at <= now):
            known.speaker_at, known.awaited = None, set()
            speaker = known.keys.group.router
            if speaker in known.members:
                self._push(known, speaker, now)
                known.sent_with = True

    def _push(self, known: _Group, router: str, now: float) -> None:
        sa = known.members[router]
        try:
            payloads = KeyServer.rekey(known.keys, router, sa.key_wrap_key())
            number = self._endpoint.request(sa, ExchangeType.GSA_INBAND_REKEY, payloads, now)
        except IkeError:
            del known.members[router]
            return
        if router != known.keys.group.router:
            known.unanswered.add(number)
            self._pushed[number] = known

    def answered(self, request_id: int, now: float) -> None:
        """A push was answered, or will not be."""
        known = self._pushed.pop(request_id, None)
        if known is not None:
            known.unanswered.discard(request_id)
            self._to_speaker(known, now)

    def rekey(self, group: GroupId, now: float, reason: str) -> None:
        """A new generation for all members that still may have it."""
        known, speaker = self._groups.get(group), self._documents.of(group.router)
        if known is None:
            return
        if speaker is None or group not in speaker.own_groups() or speaker.issuer != "dks":
            del self._groups[group]
            return
        known.members = {name: sa for name, sa in known.members.items() if self._may(speaker, group, name)}
        self._renew(known, speaker, now, reason)

    def policy_changed(self, router: str, now: float) -> None:
        """This router has a new document: members that it does not allow any more lose the next generation."""
        for group, known in list(self._groups.items()):
            if router != group.router and router not in known.members:
                continue
            speaker = self._documents.of(group.router)
            if speaker is None or any(not self._may(speaker, group, name) for name in known.members):
                self.rekey(group, now, "policy")

    def forget(self, sa: SaHandle) -> None:
        """This IKE SA is gone; who registered over it is no member any more."""
        for known in self._groups.values():
            for router in [name for name, handle in known.members.items() if handle is sa]:
                del known.members[router]

    def tick(self, now: float) -> None:
        """Rekey what is old."""
        for group, known in list(self._groups.items()):
            self._to_speaker(known, now)
            if known.rekey_at <= now:
                self.rekey(group, now, "lifetime")

    def next_timer(self) -> float | None:
        """When the next rekey is due."""
        groups = self._groups.values()
        return min((min(each.rekey_at, each.speaker_at or each.rekey_at) for each in groups), default=None)
