"""An insider: a member with its own good key that says authenticated things that are not for it to say.

It runs the real agent and beside it tells lies over that one's IKE SAs: to neighbours as key server and as holder of
lists, to the DKS as member and reporter. Knows nothing of what must hold.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from agents.gikev2 import GroupKeys, KeyServer, notifies
from agents.gikev2.member import idg
from agents.ikev2 import IkeEndpoint, IkeError, Payload, Request, SaHandle
from agents.ikev2.registry import ExchangeType
from agents.lks.core import LksCore
from agents.lks.link import Link
from agents.policy import cbor, cose
from agents.policy.confirmation import LABEL as CONFIRMATION
from agents.policy.document import sign_document
from agents.policy.group import LABEL, MAX_COUNTER, GroupState, sign_group_state
from agents.policy.names import GroupId
from agents.policy.revocation import make_list, sign_list
from testbed.faults.simulated import Lie
from testbed.simulation.parties import key
from testbed.soak.world import World

EVERY_S = 1.7
YEARS_S = 0xFFFFFFFF
COUNTERS = (0, 1, MAX_COUNTER, MAX_COUNTER + 1)
WIDE = (0, 1, (1 << 64) - 1)
DELAYS = (0, 1, 65535)
SPIS = (0, 1, 255, 256, 0xFFFFFFFF)


def lie(world: World, step: Lie) -> None:
    """One lie after another."""
    who, until = step.router, world.now + step.for_s
    fresh = world.lying.get(who, 0.0) <= world.now
    world.lying[who] = max(until, world.lying.get(who, 0.0))
    if fresh:
        _go_on(world, who)


def _go_on(world: World, who: str) -> None:
    if world.lying.get(who, 0.0) <= world.now:
        return
    node = world.nodes[who]
    if isinstance(node.core, LksCore):
        Insider(world, who, node.core).tell()
        node.core.tick(world.now)
        world.after(node)
    world.at(world.now + EVERY_S, lambda: _go_on(world, who))


class Insider:
    """One lie of one router, at this moment."""

    def __init__(self, world: World, name: str, core: LksCore) -> None:
        self._world, self._name, self._core = world, name, core
        self._chance = world.chance
        self._key = key(name)
        self._apart = random.Random(f"documents {name} {world.now}")
        """Draws of documents, so that the other lies of a seed are what they would be without them."""

    def tell(self) -> None:
        """To somebody, something false."""
        link = self._chance.choice([*self._core.link.values(), None])
        if link is None:
            self._tell_dks()
            return
        sas = link._endpoint.sas()
        if sas:
            sa = self._chance.choice(sas)
            lies: list[Callable[[], tuple[int, Sequence[Payload]]]] = [
                lambda: (ExchangeType.GSA_INBAND_REKEY, self._keys(link, sa)),
                lambda: (ExchangeType.GSA_INBAND_REKEY, self._keys(link, sa)),
                lambda: (ExchangeType.INFORMATIONAL, self._list()),
                lambda: (ExchangeType.GSA_INBAND_REKEY, self._policy()),
                lambda: (ExchangeType.INFORMATIONAL, self._orders()),
                lambda: (ExchangeType.GSA_REGISTRATION, self._show(link)),
            ]
            self._say(link._endpoint, sa, *self._chance.choice(lies)())
            if self._apart.random() < 0.5:
                self._say(link._endpoint, sa, ExchangeType.INFORMATIONAL, self._documents())

    def _say(self, endpoint: IkeEndpoint, sa: SaHandle, exchange: int, payloads: Sequence[Payload]) -> None:
        if payloads and sa.established:
            self._world.judge.checked["lies told"] += 1
            with contextlib.suppress(IkeError):
                endpoint.request(sa, exchange, Request(payloads), self._world.now)

    # -- to neighbours ------------------------------------------------------------------------------------------------

    def _keys(self, link: Link, sa: SaHandle) -> Sequence[Payload]:
        """Keys that are not for it to give."""
        speakers = [each.sending.active for each in link.speakers.values() if each.sending.active is not None]
        heard = [
            hearing.current
            for listener in link.listeners.values()
            for hearing in listener.hearing.values()
            if hearing.current is not None
        ]
        if not speakers or not heard:
            return []
        own, other = self._chance.choice(speakers), self._chance.choice(heard)
        lies = (
            lambda: self._fresh(other),  # another speaker's own signed word, over keys of ours
            lambda: self._claim(other, other.group, other.generation + 2, "lks"),
            lambda: self._claim(other, other.group, other.generation + 2, "dks"),
            lambda: self._claim(own, own.group, own.generation + 2, "dks"),
            lambda: self._claim(own, own.group, max(1, own.generation - 2), "lks"),
            lambda: self._claim(own, own.group, own.generation + 2, "lks", label="router-keys/confirmation/1"),
            lambda: replace(self._next(own), sas=tuple(replace(sa, spi=other.sas[0].spi) for sa in own.sas[:1])),
            lambda: replace(self._next(own), sas=tuple(replace(sa, speaker=other.sas[0].speaker) for sa in own.sas)),
            lambda: replace(own, sas=tuple(replace(sa, lifetime_s=YEARS_S) for sa in self._fresh(own).sas)),
            lambda: replace(own, sas=tuple(replace(sa, lifetime_s=None) for sa in own.sas)),
        )
        keys = self._extreme(own) if self._chance.random() < 0.5 else self._chance.choice(lies)()
        try:
            return KeyServer.rekey(keys, "", sa.key_wrap_key())
        except IkeError:
            return []

    def _extreme(self, keys: GroupKeys) -> GroupKeys:
        """One number of its own keys, which is for it to choose, at the end of its range."""
        number = self._chance.choice
        fresh = self._next(keys)
        choices: tuple[Callable[[], GroupKeys], ...] = (
            lambda: self._claim(keys, keys.group, number(COUNTERS), "lks"),
            lambda: self._claim(keys, keys.group, keys.generation + 2, "lks", version=number(COUNTERS)),
            lambda: replace(fresh, sas=tuple(replace(sa, lifetime_s=number((0, 1, YEARS_S))) for sa in fresh.sas)),
            lambda: replace(fresh, atd_s=number(DELAYS), dtd_s=number(DELAYS)),
            lambda: replace(fresh, sas=tuple(replace(sa, spi=number(SPIS)) for sa in fresh.sas)),
            lambda: replace(fresh, sas=tuple(replace(sa, replay_floor=number((0, 1, YEARS_S))) for sa in fresh.sas)),
            lambda: replace(fresh, sas=fresh.sas[:1] * number((0, 2, 200))),
        )
        return number(choices)()

    def _fresh(self, keys: GroupKeys) -> GroupKeys:
        return replace(keys, sas=tuple(replace(sa, keymat=self._octets(len(sa.keymat))) for sa in keys.sas))

    def _next(self, keys: GroupKeys) -> GroupKeys:
        return self._claim(keys, keys.group, keys.generation + 2, "lks")

    def _claim(
        self, keys: GroupKeys, group: GroupId, generation: int, issuer: str, label: str = LABEL,
        version: int | None = None,
    ) -> GroupKeys:  # fmt: skip
        version = self._core.document.version if version is None else version
        state = self._state(group, version, generation, issuer, label)
        return replace(self._fresh(keys), generation=generation, state=replace(keys.state, octets=state))

    def _state(self, group: GroupId, version: int, generation: int, issuer: str, label: str = LABEL) -> bytes:
        """A signed state, also with numbers that none can have."""
        state = GroupState.of(group, 1, 1, issuer)  # type: ignore[arg-type]
        said = {**dict(state), "v": version, "g": generation}
        return cose.sign(label, cbor.encode(said), self._key)

    def _octets(self, count: int) -> bytes:
        return self._chance.randbytes(count)

    def _list(self) -> Sequence[Payload]:
        """An older list, or one of its own that revokes everybody."""
        world = self._world
        own = sign_list(make_list(world.domain.name, 1000, 0, world.domain.revoked_routers), self._key)
        shown = notifies.PolicySummary(1000, 1000, bytes(32))
        return [
            notifies.policy_summary(shown),
            notifies.revocation(world.signed_lists[0] if world.signed_lists and self._chance.random() < 0.5 else own),
        ]

    def _documents(self) -> Sequence[Payload]:
        """Of documents that it has and has not, with the ends of the ranges: who asks for one is given a wrong one."""
        world, number = self._world, self._apart.choice
        names = [*world.documents, "nobody", *(f"z{each}" for each in range(40))]
        self._apart.shuffle(names)
        some = world.version + self._apart.randrange(1, 50)
        versions = (1, world.version, some, notifies.MAX_VERSION if self._apart.random() < 0.1 else some)
        shown = [notifies.Held(each, number(versions), handed=number((True, False))) for each in names]
        self._core.carrying.given = self._wrong_document  # type: ignore[method-assign, assignment]
        return [notifies.documents_held(shown, whole=number((True, False)))]

    def _wrong_document(self, wanted: notifies.WantedDocument, _peer: str, _now: float) -> bytes | int | None:
        world, number = self._world, self._apart.choice
        document = world.documents.get(wanted.router) or number(list(world.documents.values()))
        newer = document.model_copy(update={"version": number((world.version + 1, notifies.MAX_VERSION))})
        altered = bytearray(number(list(world.signed.values())))
        altered[self._apart.randrange(len(altered))] ^= 1
        earlier = number([signed for (router, _v), signed in world.published.items() if router == document.router])
        wrong = (
            sign_document(newer, self._key),
            sign_document(newer, self._key),
            bytes(altered),
            earlier,
            earlier,
            b"",
        )
        return number((*wrong, *wrong, 1 << 31, None))

    def _policy(self) -> Sequence[Payload]:
        """A policy document, which no neighbour may give."""
        signed = self._world.signed
        return [notifies.policy_document(self._chance.choice(list(signed.values())))]

    def _show(self, link: Link) -> Sequence[Payload]:
        """To a speaker: that it, or the DKS, has been further than it has."""
        groups = [group for listener in link.listeners.values() for group in listener.hearing]
        group = self._chance.choice(groups)
        state = GroupState.of(group, self._core.document.version, 1 << 30, self._chance.choice(("lks", "dks")))
        return [idg(group), notifies.group_report(sign_group_state(state, self._key))]

    def _orders(self) -> Sequence[Payload]:
        """New keys for groups of others: only the DKS may order them."""
        groups = [group for _interface, _neighbor, group in self._core.document.neighbor_groups()]
        return [notifies.rekey_order(each) for each in groups[:4]]

    def _numbers(self) -> Sequence[Payload]:
        """What it may say of itself, with the ends of the ranges: a report, a confirmation, which policy it has."""
        number = self._chance.choice
        domain, version = self._world.domain.name, number(COUNTERS)
        said = {
            "domain": domain,
            "router": self._name,
            "version": version,
            "at": number((0, 1 << 40)),
            "interfaces": [],
        }
        confirmation = cose.sign(CONFIRMATION, cbor.encode(said), self._key)
        own = self._core.document.own_groups()
        state = self._state(number(own), version, number(COUNTERS), "lks") if own else b""
        summary = notifies.PolicySummary(number(WIDE), number(WIDE), bytes(32))
        return number(
            (
                [notifies.group_report(state)] * number((1, 40)),
                [notifies.confirmation(confirmation)],
                [notifies.policy_summary(summary)],
                [notifies.reconnect_hint(YEARS_S)],
            )
        )

    # -- to the DKS ---------------------------------------------------------------------------------------------------

    def _tell_dks(self) -> None:
        dks = self._core._dks
        if dks is None or dks.sa is None or not dks.sa.established:
            return
        world = self._world
        names = sorted(set(world.documents) - {self._name})
        victim = world.documents[self._chance.choice(names)]
        groups = victim.own_groups()
        if not groups:
            return
        group = self._chance.choice(groups)
        state = GroupState.of(group, victim.version, 1 << 40, "lks")
        report = notifies.group_report(sign_group_state(state, self._key))
        lies: tuple[Sequence[Payload], ...] = (
            [idg(GroupId.control(world.domain.name, victim.router))],
            [idg(GroupId.control(world.domain.name, self._name)), report],
            [idg(group), notifies.group_sender(), report],
            [idg(group)],
        )
        self._say(dks._endpoint, dks.sa, ExchangeType.GSA_REGISTRATION, self._chance.choice(lies))
        self._say(dks._endpoint, dks.sa, ExchangeType.INFORMATIONAL, self._numbers())
        if self._chance.random() < 0.3:
            self._say(dks._endpoint, dks.sa, ExchangeType.INFORMATIONAL, self._list())
