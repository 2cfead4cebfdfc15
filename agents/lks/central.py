"""Groups whose keys the DKS makes (`issuer: dks`): our own as sender, the neighbours' as receiver.

`CentralGroups` holds the keys; `CentralLink` registers for them at the DKS and handles its rekeys.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

from agents.gikev2 import GroupKeys, GroupRefused, UnusableGroup, notifies
from agents.gikev2.keys import bounded, check_speaker, own_keys
from agents.gikev2.member import GroupDelete, parse_delete, rekey_sa
from agents.ikev2 import Datagram, IkeError, IntegrityFailure, Payload, SaHandle
from agents.ipsec.protection import GroupSa
from agents.lks.context import Context
from agents.lks.dks_link import EAGER, AtDks, DksLink, RouterSide
from agents.lks.generations import Hearing, Sending, earliest
from agents.lks.rekey_sas import RekeySas
from agents.policy.document import InterfacePolicy, Neighbor
from agents.policy.errors import PolicyError
from agents.policy.names import GroupId


class CentralGroups:
    """All groups of one router under the DKS."""

    def __init__(self, context: Context) -> None:
        self._context = context
        document = context.document
        self.sending = {group: Sending(group, group.interface) for group in document.own_groups()}
        self._heard: dict[GroupId, tuple[InterfacePolicy, Neighbor]] = {}
        self.hearing: dict[GroupId, Hearing] = {}
        for interface, neighbor, group in document.neighbor_groups():
            self._heard[group] = (interface, neighbor)
            self.hearing[group] = Hearing(group, interface.name)
        self._interfaces = {each.name: each for each in document.interfaces}
        self._keyed: set[tuple[str, str]] = set()
        self._ends: dict[tuple[GroupId, int], float] = {}
        """The time after which each generation of an own group must not be used to send."""
        self._used: dict[GroupId, int] = {}
        """The highest generation of each own group that was ever in the kernel since the start."""

    def groups(self) -> Iterator[GroupId]:
        """The groups to register at, own ones first."""
        yield from self.sending
        yield from self.hearing

    def held(self, group: GroupId) -> bytes | None:
        """The signed state of the keys that we send with (whose use we have counted throughout), or receive with."""
        group_state = self.sending.get(group) or self.hearing.get(group)
        if group_state is None:
            return None
        keys = group_state.active if isinstance(group_state, Sending) else group_state.current
        return None if keys is None else keys.state.octets

    def has(self, group: GroupId) -> bool:
        """True if this group has keys."""
        if group in self.sending:
            return self.sending[group].active is not None
        return self.hearing[group].current is not None

    def inherit(self, older: CentralGroups) -> None:
        """Keep the keys of groups that the new policy leaves as they were."""
        for group in self.sending:
            interface = self._context.document.interface(group.interface)
            if group in older.sending and _same_keys(interface, older._interfaces.get(group.interface)):
                self.sending[group] = older.sending[group]
        for group in self.hearing:
            before = older._heard.get(group)
            interface, neighbor = self._heard[group]
            if before is not None and _same_keys(interface, before[0]) and neighbor == before[1]:
                self.hearing[group] = older.hearing[group]
        self._keyed = older._keyed
        self._ends = dict(older._ends)
        self._used = dict(older._used)

    def remember(self, older: CentralGroups) -> None:
        """Give up the generations that were in the kernel."""
        self._used = dict(older._used)

    def check(self, keys: GroupKeys) -> None:
        """UnusableGroup unless policy allows these keys for this group, and they were not used before with a count that
        is now lost: they may answer a request from before we gave them up."""
        document = self._context.document
        if keys.group in self._heard:
            check_speaker(keys, *self._heard[keys.group], document)
            return
        own_keys(keys, document)
        sending = self.sending[keys.group]
        if sending.active is None and keys.generation <= self._used.get(keys.group, 0):
            raise UnusableGroup(f"{keys.group}: generation {keys.generation} was given up here")

    def take(self, keys: GroupKeys, now: float, *, registration: bool) -> None:
        """Use these keys, which `check` has passed. `registration`: they are an answer, not a rekey."""
        hearing = self.hearing.get(keys.group)
        if hearing is not None:
            if registration:
                hearing.succeed(keys, now)
            else:
                hearing.follow(keys, now)
        else:
            sending = self.sending[keys.group]
            self._used[keys.group] = max(keys.generation, self._used.get(keys.group, 0))
            lifetimes = [sa.lifetime_s for sa in keys.sas if sa.lifetime_s is not None]
            if lifetimes:
                self._ends.setdefault((keys.group, keys.generation), now + min(lifetimes))
            if sending.active is None:
                sending.begin(keys)
            elif sending.active.generation != keys.generation:
                sending.prepare(keys, now + keys.atd_s)
        self._context.kernel_dirty = True

    def delete(self, spis: frozenset[int], everything: bool) -> list[GroupId]:
        """Delete SAs; the groups that have no keys now."""
        lost = [group for group, hearing in self.hearing.items() if hearing.delete(spis, everything)]
        for group, sending in self.sending.items():
            active = sending.active
            if active is not None and (everything or any(sa.spi in spis for sa in active.sas)):
                sending.stop()
                lost.append(group)
        self._context.kernel_dirty = True
        return lost

    def give_up(self, group: GroupId) -> None:
        """Drop all keys of this group."""
        group_state: Sending | Hearing | None = self.sending.get(group) or self.hearing.get(group)
        if group_state is not None:
            group_state.stop()
            self._context.kernel_dirty = True

    def tick(self, now: float) -> list[GroupId]:
        """Do all actions that are due; the groups whose keys have expired."""
        lost = []
        for group, sending in self.sending.items():
            if sending.tick(now):
                self._context.kernel_dirty = True
            if self._end(group) <= now:
                sending.stop()  # the DKS did not replace it in time, and a key is never used beyond its lifetime
                self._context.kernel_dirty = True
                lost.append(group)
        held = {(group, number) for group, sending in self.sending.items() for number in sending.held()}
        self._ends = {key: end for key, end in self._ends.items() if key in held}
        for group, hearing in self.hearing.items():
            if hearing.tick(now):
                self._context.kernel_dirty = True
                if hearing.current is None:
                    lost.append(group)
        return lost

    def _end(self, group: GroupId) -> float:
        active = self.sending[group].active
        return math.inf if active is None else self._generation_ends(group, active.generation)

    def _generation_ends(self, group: GroupId, generation: int) -> float:
        return self._ends.get((group, generation), math.inf)

    def next_timer(self) -> float | None:
        """The time of the next action."""
        sending = [each.next_timer() for each in self.sending.values()]
        return earliest(
            [
                *sending,
                *(each for each in map(self._end, self.sending) if each < math.inf),
                *(each.next_timer() for each in self.hearing.values()),
            ]
        )

    def sas(self) -> Iterator[GroupSa]:
        """The content that the kernel must have."""
        for sending in self.sending.values():
            yield from sending.sas(partial(self._generation_ends, sending.group))
        for hearing in self.hearing.values():
            yield from hearing.sas()

    @property
    def complete(self) -> bool:
        """True if every group that we send to or receive from has keys."""
        speaking = all(each.active is not None for each in self.sending.values())
        return speaking and all(each.current is not None for each in self.hearing.values())

    def keyed(self, interface: str, router: str) -> bool:
        """True if the neighbour's groups and ours on this interface had keys at the last check."""
        return (interface, router) in self._keyed

    def note_keyed(self) -> None:
        """Report each neighbour once when its groups and ours on that interface have keys."""
        wanted: dict[tuple[str, str], bool] = {}
        for group, (interface, neighbor) in self._heard.items():
            own = GroupId(group.domain, self._context.document.router, interface.name, group.protocol)
            ready = self.hearing[group].current is not None and self.sending[own].active is not None
            adjacency = (interface.name, neighbor.router)
            wanted[adjacency] = wanted.get(adjacency, True) and ready
        for adjacency, ready in wanted.items():
            if not ready:
                self._keyed.discard(adjacency)
            elif adjacency not in self._keyed:
                self._keyed.add(adjacency)
                self._context.event("keyed", interface=adjacency[0], neighbor=adjacency[1])


class Register(AtDks):
    """True for the sender's side, when the group is our own."""

    def __init__(self, contact: CentralLink, group: GroupId) -> None:
        super().__init__(contact, group)
        self._central = contact

    def payloads(self) -> Sequence[Payload] | None:
        return self._central.asks(self.group)

    def taken(self, payloads: Sequence[Payload], now: float) -> None:
        if not self._central.put_off(self.group, payloads, now):
            self._central.given(self.group, payloads, now)


class CentralLink(DksLink):
    """The contact with the DKS of a router that gets all its keys from it. `groups`: take the results."""

    retransmission = EAGER
    eager = True

    def __init__(self, context: Context, side: RouterSide, groups: CentralGroups, port: int, now: float) -> None:
        super().__init__(context, side, port, now)
        self.groups = groups
        self._rekeys = RekeySas(self._key, context.uniform)

    # -- input ---------------------------------------------------------------------------------------

    def receive(self, datagram: Datagram, now: float) -> None:
        """A datagram from the DKS's address."""
        if RekeySas.is_message(datagram.data):
            self.boundary.run("GSA_REKEY", lambda: self._rekey_message(datagram, now))
            self._drain(now)
        else:
            super().receive(datagram, now)

    def _due(self, now: float) -> None:
        super()._due(now)
        for group in (*self.groups.tick(now), *self._rekeys.due(now)):
            self._register(group, now)

    def _timers(self) -> list[float | None]:
        return [*super()._timers(), self.groups.next_timer(), self._rekeys.next_timer()]

    def _drain(self, now: float) -> None:
        super()._drain(now)
        self.groups.note_keyed()

    # -- registration --------------------------------------------------------------------------------

    def admitted(self, payloads: Sequence[Payload], now: float) -> None:
        super().admitted(payloads, now)
        for group in self.groups.groups():
            self._register(group, now)

    def register_missing(self, now: float) -> None:
        """Policy has added groups that have no keys yet."""
        for group in self.groups.groups():
            if not self.groups.has(group):
                self._register(group, now)
        self._drain(now)

    def _register(self, group: GroupId, now: float) -> None:
        if group in self.groups.sending or group in self.groups.hearing:
            self.ask(Register(self, group), now)
        else:
            super()._register(group, now)

    def asks(self, group: GroupId) -> list[Payload]:
        """A registration, with our newest signed state of the group."""
        sender, held = group in self.groups.sending, self.groups.held(group)
        if held is None:
            held = self._context.mark(group) if sender else self._context.retained.signed_state(group)
        return self.member.request(group, sender=sender, extra=[] if held is None else [notifies.group_report(held)])

    def given(self, group: GroupId, payloads: Sequence[Payload], now: float) -> None:
        """The DKS has answered a registration."""
        assert self.sa is not None
        try:
            kwk = self.sa.key_wrap_key()
            grant = rekey_sa(payloads, self._key, kwk)
            keys = self.member.answer(group, payloads, kwk)
            self._use(keys, now, registration=True)
        except (GroupRefused, IkeError, PolicyError) as error:
            self._context.event("error", what="registration", group=str(group), detail=str(error))
            self.later(group, now)
            return
        self._context.event("registered", group=str(group), at="dks", generation=keys.generation)
        self._rekeys.take(group, grant, now)

    def _use(self, keys: GroupKeys, now: float, *, registration: bool = False) -> None:
        self.groups.check(keys)
        if keys.group in self.groups.hearing:
            keys = bounded(keys, self._context.document.lifetimes)
        self._context.retained.took(keys.state)
        self.groups.take(keys, now, registration=registration)

    # -- rekeys --------------------------------------------------------------------------------------

    def rekeyed(self, payloads: Sequence[Payload], sa: SaHandle, now: float) -> None:
        super().rekeyed(payloads, sa, now)
        delete = parse_delete(payloads)
        if delete is not None:
            self._deleted(delete, now)
        elif notifies.find_group_state(payloads) is not None:
            self._use(self.member.rekey(payloads, sa.key_wrap_key()), now)

    def _deleted(self, delete: GroupDelete, now: float) -> None:
        for group in self.groups.delete(delete.spis, delete.everything):
            self.later(group, now)

    def _rekey_message(self, datagram: Datagram, now: float) -> None:
        """GSA_REKEY: the DKS sends keys without an IKE SA with us. It is not answered."""
        try:
            message = self._rekeys.open(datagram.data, now)
            if message is None:
                return
            delete = parse_delete(message.payloads)
            if delete is not None and delete.excluded:
                self._context.event("excluded", group=str(message.group))
                self._rekeys.drop(message.group)
                self.groups.give_up(message.group)
                self.later(message.group, now)
            elif delete is not None:
                self._deleted(delete, now)
            else:
                keys = self.member.rekey(message.payloads, message.key_wrap_key)
                if keys.group != message.group:
                    raise UnusableGroup(f"{message.group}: keys of another group under its Rekey SA")
                self._use(keys, now)
                self._context.event("rekey_message", group=str(message.group), generation=keys.generation)
        except IntegrityFailure as error:
            self._drops.saw(datagram.peer.ip, f"GSA_REKEY: {error}", now)
        except (IkeError, PolicyError) as error:
            self._context.event("error", what="rekey message", detail=str(error))


def _same_keys(interface: InterfacePolicy | None, before: InterfacePolicy | None) -> bool:
    """True if only the modes differ: stricter or looser use of keys needs no new keys."""
    if interface is None or before is None:
        return interface is before
    return interface.model_copy(update={"mode": before.mode, "modes": before.modes}) == before
