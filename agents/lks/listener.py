"""One neighbour on one interface: the router listens to its groups, and our LKS is a member of them (GM).

Begins IKE towards the neighbour's LKS and registers at all of its groups in GSA_AUTH; groups that were not given, or
came later, follow in GSA_REGISTRATION (RFC 9838 §2.3). Handles the neighbour's rekeys, and begins again whenever the
IKE SA is gone. It never gives up: the neighbour may be without power for days. Knows nothing of our own groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.gikev2 import GroupKeys, GroupMember, GroupRefused, UnusableGroup, notifies
from agents.gikev2.keys import bounded, check_speaker
from agents.gikev2.member import parse_delete
from agents.gikev2.party import Registration
from agents.ikev2 import (
    Closed,
    CloseReason,
    Established,
    IkeEndpoint,
    IkeError,
    Payload,
    PeerAddress,
    SaHandle,
)
from agents.ikev2.registry import ExchangeType
from agents.lks.context import Context
from agents.lks.generations import Hearing, earliest
from agents.policy.document import InterfacePolicy, Neighbor
from agents.policy.group import Issuer
from agents.policy.keys import public_key_from_spki
from agents.policy.names import GroupId, SpeakerId

AT_ONCE = frozenset({CloseReason.TIMEOUT, CloseReason.INITIAL_CONTACT})
SOON = frozenset({CloseReason.DELETED_BY_PEER, CloseReason.DELETED_BY_US})
SOON_S = (0.02, 0.1)
RETRY_S = (0.5, 1.5)
"""How long to wait after the neighbour refused or closed: uniform in this range, in seconds."""


class Register(Registration):
    """A registration at the neighbour's LKS."""

    def __init__(self, listener: Listener, group: GroupId) -> None:
        super().__init__(listener.under_way, group)
        self._listener = listener

    def payloads(self) -> Sequence[Payload] | None:
        return self._listener.asks(self.group)

    def taken(self, payloads: Sequence[Payload], now: float) -> None:
        self._listener.take(self.group, payloads, now)

    def missed(self, now: float) -> None:
        """If the IKE SA is gone too, everything is requested again over the next."""
        self._listener.later(self.group, now)


class Listener:
    """The registrations at one neighbour's LKS. `hello`: our announcement in GSA_AUTH; `port`: the neighbour's UDP
    port."""

    def __init__(
        self,
        context: Context,
        endpoint: IkeEndpoint,
        hello: Callable[[], list[Payload]],
        interface: InterfacePolicy,
        neighbor: Neighbor,
        port: int,
    ) -> None:
        self._context, self._endpoint, self._hello = context, endpoint, hello
        self.interface, self.neighbor = interface, neighbor
        ours, theirs = interface.between(neighbor)
        self._peer = PeerAddress(str(theirs), port, str(ours), interface.name, port)
        domain = context.document.domain
        self.hearing = {
            group: Hearing(group, interface.name)
            for group in (
                GroupId.of(domain, neighbor.router, neighbor.interface, protocol) for protocol in interface.protected
            )
        }
        self._neighbor_key = public_key_from_spki(neighbor.key)
        self._dks_key = public_key_from_spki(context.document.dks.key)
        self._member = GroupMember((context.document.suite,), self._issuer_key, context.retained.check)
        self.sa: SaHandle | None = None
        self.under_way: dict[GroupId, Registration] = {}
        self._first: tuple[GroupId, ...] = ()
        self._again_at: dict[GroupId, float] = {}
        self._connect_at: float | None = None

    def __str__(self) -> str:
        return f"listener to {self.neighbor.router} on {self.interface.name}"

    # -- beginning -----------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin IKE towards the neighbour, unless that is under way."""
        if self.sa is not None or not self.hearing:
            return
        self._connect_at = now  # until it is done
        self._first = tuple(self.hearing)
        first = [*(self.asks(*self._first) if len(self._first) == 1 else self._asks_all()), *self._hello()]
        self.sa = self._endpoint.connect(self._peer, self._context.party(self.neighbor.router), first, now)
        self._connect_at = None

    def wake(self, now: float) -> None:
        """The neighbour has authenticated itself, or the interface came up: do not wait for a timer."""
        if self.sa is None:
            self.start(now)
        elif not self.sa.established:
            self._endpoint.poke(self.sa, now)

    def adopt(self, interface: InterfacePolicy, now: float) -> None:
        """Continue under a newer policy of the interface: register at groups of newly protected protocols, and drop
        those of protocols that are no longer protected."""
        self.interface, neighbor = interface, self.neighbor
        domain = self._context.document.domain
        wanted = [GroupId.of(domain, neighbor.router, neighbor.interface, each) for each in interface.protected]
        for group in [each for each in self.hearing if each not in wanted]:
            self.hearing.pop(group).stop()
            self._again_at.pop(group, None)
            self._context.kernel_dirty = True
        for group in wanted:
            if group not in self.hearing:
                self.hearing[group] = Hearing(group, interface.name)
                self._register(group, now)

    def check(self, now: float) -> None:
        """Check that the neighbour still knows our IKE SA."""
        if self.sa is not None and self.sa.established:
            self._endpoint.check_liveness(self.sa, now)

    def stop(self, now: float) -> None:
        """The neighbour is no longer allowed: drop all its keys and state."""
        for hearing in self.hearing.values():
            hearing.stop()
        self._context.kernel_dirty = True
        self._connect_at = None
        self._again_at.clear()
        if self.sa is not None:
            sa, self.sa = self.sa, None
            self._endpoint.close(sa, now)

    @property
    def complete(self) -> bool:
        """True if we have the keys of every group of this neighbour."""
        return None not in [hearing.current for hearing in self.hearing.values()]

    # -- events of our IKE SA ------------------------------------------------------------------------

    def established(self, event: Established, now: float) -> None:
        """GSA_AUTH was answered: take the keys that it gives, and request the others."""
        asked, self._first = self._first, ()
        self._again_at.clear()
        given: dict[GroupId, Sequence[Payload]] = {}
        try:
            given = {asked[0]: event.payloads} if len(asked) == 1 else {**self._member.split(asked, event.payloads)}
        except (UnusableGroup, IkeError) as error:
            self._context.event("error", what="registration", peer=self.neighbor.router, detail=str(error))
        for group in self.hearing:
            if group not in given:
                self._register(group, now)
        for group, payloads in given.items():
            self.take(group, payloads, now)

    def closed(self, event: Closed, now: float) -> None:
        """The IKE SA is gone. Keys stay until they expire or the next registration replaces them."""
        self.sa, self._first = None, ()
        self.under_way.clear()
        self._again_at.clear()
        if event.reason in AT_ONCE:
            self._connect_at = now
        else:
            soon = event.reason in SOON
            self._connect_at = now + self._context.uniform(*(SOON_S if soon else RETRY_S))
            self._context.event(
                "error", what="ike", peer=self.neighbor.router, detail=event.reason.value, notify=event.notify
            )

    def rekey(self, payloads: Sequence[Payload], sa: SaHandle, now: float) -> None:
        """A GSA_INBAND_REKEY of the neighbour: new keys, or a Delete of keys. The caller answers."""
        delete = parse_delete(payloads)
        if delete is not None:
            for group, hearing in self.hearing.items():
                if hearing.delete(delete.spis, delete.everything):
                    self.later(group, now)
            self._context.kernel_dirty = True
            return
        keys = self._member.rekey(payloads, sa.key_wrap_key())
        hearing = self.hearing[keys.group]
        keys = self._checked(keys)
        hearing.follow(keys, now)
        self._taken(keys)

    # -- registration --------------------------------------------------------------------------------

    def _register(self, group: GroupId, now: float) -> None:
        self._again_at.pop(group, None)
        if self.sa is not None and self.sa.established and group not in self.under_way:
            request = Register(self, group)
            self._endpoint.request(self.sa, ExchangeType.GSA_REGISTRATION, request, now)
            self.under_way[group] = request

    def asks(self, group: GroupId) -> list[Payload]:
        """A registration, with the neighbour's last signed state of this group: if its disk has lost it, the neighbour
        must not repeat a number that we have had."""
        return self._member.request(group, extra=self._shows(group))

    def _asks_all(self) -> list[Payload]:
        speaker = SpeakerId(self._context.document.domain, self.neighbor.router, self.neighbor.interface)
        return self._member.request_all(speaker, extra=[each for group in self.hearing for each in self._shows(group)])

    def _shows(self, group: GroupId) -> list[Payload]:
        signed = self._context.retained.signed_state(group)
        return [] if signed is None else [notifies.group_report(signed)]

    def take(self, group: GroupId, payloads: Sequence[Payload], now: float) -> None:
        """The answer to a registration."""
        if group not in self.hearing:
            return  # given up since it was asked for
        assert self.sa is not None
        try:
            keys = self._checked(self._member.answer(group, payloads, self.sa.key_wrap_key()))
        except (GroupRefused, UnusableGroup, IkeError) as error:
            self._context.event("error", what="registration", group=str(group), detail=str(error))
            self.later(group, now)
            return
        self.hearing[group].replace(keys, now)
        self._taken(keys)
        self._context.event("registered", group=str(group), at=self.neighbor.router, generation=keys.generation)

    def _checked(self, keys: GroupKeys) -> GroupKeys:
        check_speaker(keys, self.interface, self.neighbor, self._context.document)
        return bounded(keys, self._context.document.lifetimes)

    def _issuer_key(self, group: GroupId, issuer: Issuer) -> Ed25519PublicKey | None:
        """The possible makers of keys that this neighbour distributes: itself, and under `issuer: dks` the DKS."""
        if group not in self.hearing:
            return None
        if issuer == "lks":
            return self._neighbor_key
        return self._dks_key if self._context.shared(group) else None

    def _taken(self, keys: GroupKeys) -> None:
        self._context.retained.took(keys.state)
        self._context.kernel_dirty = True

    def later(self, group: GroupId, now: float) -> None:
        """Register again after a while."""
        if group in self.hearing:
            self._again_at[group] = now + self._context.uniform(*RETRY_S)

    # -- time ----------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self._connect_at is not None and self._connect_at <= now:
            self.start(now)
        for group, when in list(self._again_at.items()):
            if when <= now:
                self._register(group, now)
        for group, hearing in self.hearing.items():
            if hearing.tick(now):
                self._context.kernel_dirty = True
                if hearing.current is None:
                    self._register(group, now)

    def next_timer(self) -> float | None:
        """When something is due."""
        timers = [hearing.next_timer() for hearing in self.hearing.values()]
        return earliest([self._connect_at, *self._again_at.values(), *timers])
