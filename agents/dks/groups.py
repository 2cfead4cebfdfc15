"""The groups whose keys the DKS makes: their present keys, their members, and the order of a rekey.

Receivers get a new generation before the speaker, so that nobody is spoken to in a key it has not got. Knows
nothing of sockets; datagrams go through the IKE endpoint it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.dks.book import Book
from agents.gikev2.keys import GroupKeys, make_group_keys
from agents.gikev2.server import KeyServer
from agents.ikev2 import IkeEndpoint, UnknownSa
from agents.ikev2.handle import SaHandle
from agents.ikev2.registry import ExchangeType
from agents.policy.document import PolicyDocument
from agents.policy.group import GroupState, sign_group_state
from agents.policy.names import GroupId

# A group is rekeyed when this part of its key's lifetime is over.
REKEY_AT = 0.8


@dataclass
class Group:
    """`members`: by router, the IKE SA that its keys went over. `waiting`: receivers that have not acknowledged."""

    keys: GroupKeys
    made_at: float
    speaker_has: int = 0
    members: dict[str, SaHandle] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    speaker_due: float | None = None


class Groups:
    """All groups, by name."""

    def __init__(
        self,
        endpoint: IkeEndpoint,
        book: Book,
        key: Ed25519PrivateKey,
        random: Callable[[int], bytes],
        rekeyed: Callable[[GroupId, int], None],
    ) -> None:
        self._endpoint, self._book, self._key, self._random, self._rekeyed = endpoint, book, key, random, rekeyed
        self._groups: dict[GroupId, Group] = {}
        self._requests: dict[tuple[SaHandle, int], tuple[GroupId, str]] = {}
        self._lifetimes: dict[GroupId, float] = {}

    def join(self, document: PolicyDocument, group: GroupId, router: str, sa: SaHandle, now: float) -> GroupKeys:
        """The keys for this router, which becomes a member. A speaker that had keys before gets new ones.

        RFC 9838 §2.5: after a restart a speaker does not know which sequence numbers it has used.
        """
        known = self._groups.get(group)
        fresh = known is None
        if known is None:
            known = self._groups[group] = Group(self._make(document, group), now)
        if router == group.router and known.speaker_has and not fresh:
            known.keys, known.made_at, known.speaker_due = self._make(document, group), now, None
            self._push(group, known, [name for name in known.members if name != router], now)
        if router == group.router:
            known.speaker_has = known.keys.generation
        known.members[router] = sa
        self._lifetimes[group] = float(document.lifetimes.group_s)
        return known.keys

    def leave(self, group: GroupId, router: str) -> None:
        """The router does not take part any more."""
        if known := self._groups.get(group):
            known.members.pop(router, None)
            known.waiting.discard(router)

    def closed(self, sa: SaHandle) -> None:
        """An IKE SA is gone: who had keys over it is out of those groups until it registers again (§2.3.3)."""
        for known in self._groups.values():
            for router in [name for name, used in known.members.items() if used == sa]:
                del known.members[router]
                known.waiting.discard(router)

    def answered(self, sa: SaHandle, request_id: int, now: float) -> None:
        """A rekey was acknowledged, or will never be."""
        group, router = self._requests.pop((sa, request_id), (None, ""))
        if group is None or (known := self._groups.get(group)) is None:
            return
        known.waiting.discard(router)
        if not known.waiting and known.speaker_due is not None:
            self._to_speaker(group, known, now)

    def tick(self, documents: Callable[[str], PolicyDocument | None], now: float) -> None:
        """Rekey what is old, and give a speaker its new keys when receivers have had their time."""
        for group, known in self._groups.items():
            if known.speaker_due is not None and now >= known.speaker_due:
                self._to_speaker(group, known, now)
            if now >= self._due(group, known):
                document = documents(group.router)
                if document is not None and document.issuer == "dks" and group in document.own_groups():
                    self.rekey(document, group, now)
                else:
                    self._lifetimes.pop(group, None)

    def rekey(self, document: PolicyDocument, group: GroupId, now: float) -> None:
        """A new generation, to the receivers first."""
        known = self._groups[group]
        known.keys, known.made_at = self._make(document, group), now
        receivers = [name for name in known.members if name != group.router]
        known.speaker_due = now + document.lifetimes.atd_s if group.router in known.members else None
        self._push(group, known, receivers, now)
        if not known.waiting and known.speaker_due is not None:
            self._to_speaker(group, known, now)

    def next_timer(self) -> float | None:
        """When `tick` has something to do."""
        times = [self._due(group, known) for group, known in self._groups.items() if group in self._lifetimes]
        times += [known.speaker_due for known in self._groups.values() if known.speaker_due is not None]
        return min(times, default=None)

    def _due(self, group: GroupId, known: Group) -> float:
        return known.made_at + REKEY_AT * self._lifetimes.get(group, float("inf"))

    def _make(self, document: PolicyDocument, group: GroupId) -> GroupKeys:
        generation = self._book.next(group)
        state = sign_group_state(GroupState.of(group, document.version, generation, "dks"), self._key)
        self._rekeyed(group, generation)
        return make_group_keys(document, group, generation, self._random, state)

    def _push(self, group: GroupId, known: Group, receivers: list[str], now: float) -> None:
        known.waiting = set()
        for router in receivers:
            if self._send(group, known, router, now):
                known.waiting.add(router)

    def _to_speaker(self, group: GroupId, known: Group, now: float) -> None:
        known.speaker_due = None
        if self._send(group, known, group.router, now):
            known.speaker_has = known.keys.generation

    def _send(self, group: GroupId, known: Group, router: str, now: float) -> bool:
        """GSA_INBAND_REKEY (RFC 9838 §2.3.2) to one member; False when its IKE SA is gone."""
        sa = known.members.get(router)
        if sa is None:
            return False
        try:
            payloads = KeyServer.rekey(known.keys, router, sa.key_wrap_key())
            request = self._endpoint.request(sa, ExchangeType.GSA_INBAND_REKEY, payloads, now)
        except UnknownSa:
            known.members.pop(router, None)
            return False
        self._requests[sa, request] = (group, router)
        return True
