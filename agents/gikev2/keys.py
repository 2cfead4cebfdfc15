"""A group's keys as values, and their conversion to and from GSA and KD.

One generation of a speaker's group has a Data-Security SA for each destination. Knows nothing of exchanges, of IKE SAs,
or of who may have the keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from agents.gikev2.errors import UnusableGroup
from agents.gikev2.gsa import GroupPolicy, GroupWidePolicy, GsaPayload
from agents.gikev2.kd import GroupKeyBag, KdPayload, unwrap_key, wrap_key
from agents.gikev2.registry import GsaAttribute
from agents.ikev2 import Attribute, TrafficSelector, Transform, transform
from agents.ikev2.registry import Integ, Protocol, SequenceNumbers, TransformType
from agents.ipsec.protection import GroupSa, IPAddress, Suite
from agents.policy.document import InterfacePolicy, Lifetimes, Neighbor, PolicyDocument
from agents.policy.group import SignedState
from agents.policy.names import GroupId
from agents.policy.spi import sa_slots

MAX_DELAY_S = 65535
"""The longest activation delay that the encoding allows (RFC 9838 §4.4.3: two octets)."""


@dataclass(frozen=True, slots=True)
class DataSa:
    """One Data-Security SA of a group. `member`: the only neighbour that gets it (a pair SA); not on the wire."""

    spi: int
    suite: Suite
    keymat: bytes = field(repr=False)
    speaker: IPAddress
    destination: IPAddress
    ip_protocol: int
    lifetime_s: int | None = None
    replay_floor: int = 0
    member: str | None = None


@dataclass(frozen=True, slots=True)
class GroupKeys:
    """One generation of a speaker's group. `state`: the key server's signed state with (v, g), verified."""

    group: GroupId
    generation: int
    sas: tuple[DataSa, ...]
    atd_s: int
    dtd_s: int
    state: SignedState

    def for_member(self, router: str) -> GroupKeys:
        """The part for this router: the multicast SAs, and its own pair SAs.

        The speaker itself has all.
        """
        if router == self.group.router:
            return self
        return replace(self, sas=tuple(sa for sa in self.sas if sa.member in (None, router)))

    def with_floors(self, sequence: Callable[[DataSa], int]) -> GroupKeys:
        """The same with replay floors: `sequence` gives the speaker's last used number of each SA."""
        return replace(self, sas=tuple(replace(sa, replay_floor=sequence(sa)) for sa in self.sas))

    def group_sas(self, interface: str, *, outbound: bool, until: float, active: bool = True) -> tuple[GroupSa, ...]:
        """The SAs in the form of agents.ipsec, for this interface of ours. `until`: their planned end."""
        protocol = self.group.routing_protocol
        return tuple(
            GroupSa(
                spi=sa.spi,
                suite=sa.suite,
                keymat=sa.keymat,
                speaker=sa.speaker,
                destination=sa.destination,
                protocol=protocol,
                interface=interface,
                outbound=outbound,
                generation=self.generation,
                active=active,
                replay_floor=sa.replay_floor,
                until=until,
            )
            for sa in self.sas
        )


def make_group_keys(document: PolicyDocument, random: Callable[[int], bytes], state: SignedState) -> GroupKeys:
    """The generation of this state, for a group whose speaker the document is for: fresh keys for every SA.

    UnusableGroup when the document has no such group, PolicyError when its SPI block is too small.
    """
    group, generation = state.said.group, state.said.g
    interface = document.interface(group.interface)
    if not document.speaks(group) or interface is None:
        raise UnusableGroup(f"{group} is not in the document of {document.router}, version {document.version}")
    protocol = group.routing_protocol
    sas = tuple(
        DataSa(
            spi=slot.spi(document.spi, generation),
            suite=document.suite,
            keymat=random(document.suite.keymat_bytes),
            speaker=interface.local_for(protocol),
            destination=slot.destination,
            ip_protocol=protocol.ip_protocol,
            lifetime_s=document.lifetimes.group_s,
            member=slot.member,
        )
        for slot in sa_slots(interface, protocol)
    )
    return GroupKeys(group, generation, sas, document.lifetimes.atd_s, document.lifetimes.dtd_s, state)


def check_speaker(keys: GroupKeys, interface: InterfacePolicy, neighbor: Neighbor, document: PolicyDocument) -> None:
    """UnusableGroup unless this neighbour may send with every SA on this interface: its address, its SPIs, our suite,
    the protocol's groups or our own address."""
    protocol = keys.group.routing_protocol
    allowed: set[IPAddress] = {*protocol.multicast_destinations(interface.link)}
    if protocol.unicast_on(interface.link):
        allowed.add(interface.local_for(protocol))
    speaker = neighbor.address_for(protocol)
    if len({sa.destination for sa in keys.sas}) != len(keys.sas):
        raise UnusableGroup(f"{keys.group}: {len(keys.sas)} SAs, and two of them to one destination")
    for sa in keys.sas:
        if sa.speaker != speaker or sa.ip_protocol != protocol.ip_protocol or sa.destination not in allowed:
            raise UnusableGroup(f"{keys.group}: {sa.speaker} to {sa.destination} is not an SA of this neighbour")
        if sa.suite is not document.suite or not neighbor.spi.holds(sa.spi):
            raise UnusableGroup(
                f"{keys.group}: suite {sa.suite.value} or SPI {sa.spi:#010x} is not what the policy says"
            )


LEAST_LIFE_S = 10
"""The shortest lifetime that a receiver accepts. A receiver asks for new keys at the end of a key's lifetime; a
lifetime of zero would make it ask without end."""


def bounded(keys: GroupKeys, lifetimes: Lifetimes) -> GroupKeys:
    """The same keys for a receiver, with a lifetime and delays no longer than policy's: a key server may give shorter
    ones, but neither longer ones nor zero."""
    life_s = lifetimes.group_s
    lives = [life_s if sa.lifetime_s is None else min(life_s, max(LEAST_LIFE_S, sa.lifetime_s)) for sa in keys.sas]
    return replace(
        keys,
        sas=tuple(replace(sa, lifetime_s=life) for sa, life in zip(keys.sas, lives, strict=True)),
        atd_s=min(keys.atd_s, life_s),
        dtd_s=min(keys.dtd_s, lifetimes.dtd_s),
    )


def own_keys(keys: GroupKeys, document: PolicyDocument) -> GroupKeys:
    """Keys that another key server made for a group of this document's router, with each pair SA marked as its
    member's. UnusableGroup unless they have exactly the SAs that policy gives the group."""
    group = keys.group
    interface = document.interface(group.interface)
    if group not in document.own_groups() or interface is None:
        raise UnusableGroup(f"{group} is not a group of ours")
    protocol = group.routing_protocol
    local = interface.local_for(protocol)
    member = {
        (local, slot.destination, slot.spi(document.spi, keys.generation)): slot.member
        for slot in sa_slots(interface, protocol)
    }
    given = {(sa.speaker, sa.destination, sa.spi): sa for sa in keys.sas}
    if given.keys() != member.keys() or len(keys.sas) != len(given):
        raise UnusableGroup(f"{group}: other SAs than our policy has")
    wanted = (document.suite, document.lifetimes.group_s, protocol.ip_protocol)
    if any((sa.suite, sa.lifetime_s, sa.ip_protocol) != wanted for sa in keys.sas):
        raise UnusableGroup(f"{group}: another suite, lifetime or protocol than our policy has")
    return replace(keys, sas=tuple(replace(sa, member=member[slot]) for slot, sa in given.items()))


# -- between keys and payloads ----------------------------------------------------------------------


@lru_cache(maxsize=len(Suite))
def suite_transforms(suite: Suite) -> tuple[Transform, ...]:
    """The transforms of a Data-Security SA with one sender: 32-bit sequence numbers, since ESN is forbidden."""
    p = suite.parameters
    transforms = [transform(TransformType.ENCR, p.encr_id, p.encr_key_bits if suite in _SIZED else None)]
    if p.integ_id is not None:
        transforms.append(transform(TransformType.INTEG, p.integ_id))
    transforms.append(transform(TransformType.SN, SequenceNumbers.SEQUENTIAL_32))
    return tuple(transforms)


_SIZED = frozenset(suite for suite in Suite if suite.parameters.encr_id in (12, 20))


def transforms_suite(transforms: tuple[Transform, ...]) -> Suite:
    """The suite of these transforms; UnusableGroup for one that we lack."""
    if len({item.type for item in transforms}) != len(transforms):
        raise UnusableGroup("two transforms of one type")
    wanted = {item for item in transforms if not (item.type == TransformType.INTEG and item.id == Integ.NONE)}
    for suite in Suite:
        if wanted == set(suite_transforms(suite)):
            return suite
    raise UnusableGroup("no suite has these transforms")


def to_payloads(keys: GroupKeys, kwk: bytes, *, floors: bool = True) -> tuple[GsaPayload, KdPayload]:
    """GSA and KD of these keys; each key is wrapped with `kwk`, GSK_w of the SA that carries the message."""
    policies: list[GroupPolicy] = []
    bags: list[GroupKeyBag] = []
    for sa in keys.sas:
        spi = sa.spi.to_bytes(4, "big")
        attributes: tuple[Attribute, ...] = ()
        if sa.lifetime_s is not None:
            attributes = (Attribute(GsaAttribute.GSA_KEY_LIFETIME, sa.lifetime_s.to_bytes(4, "big")),)
        source = TrafficSelector(sa.speaker, sa.speaker, sa.ip_protocol)
        destination = TrafficSelector(sa.destination, sa.destination, sa.ip_protocol)
        policies.append(GroupPolicy(Protocol.ESP, spi, source, destination, suite_transforms(sa.suite), attributes))
        floor = sa.replay_floor if floors and sa.replay_floor else None
        bags.append(GroupKeyBag(Protocol.ESP, spi, (wrap_key(kwk, sa.keymat),), floor))
    wide = GroupWidePolicy(keys.atd_s, keys.dtd_s) if keys.atd_s or keys.dtd_s else None
    return GsaPayload(tuple(policies), wide), KdPayload(tuple(bags))


def from_payloads(state: SignedState, gsa: GsaPayload, kd: KdPayload, kwk: bytes) -> GroupKeys:
    """The keys of this state, from GSA and KD. UnusableGroup for keys that we cannot use, IntegrityFailure for a wrong
    wrap."""
    sas = tuple(_data_sa(policy, kd, kwk) for policy in gsa.policies if policy.protocol != Protocol.GIKE_UPDATE)
    if not sas:
        raise UnusableGroup(f"{state.said.group}: no Data-Security SA")
    wide = gsa.group_wide or GroupWidePolicy()
    return GroupKeys(state.said.group, state.said.g, sas, wide.atd_s, wide.dtd_s, state)


def _data_sa(policy: GroupPolicy, kd: KdPayload, kwk: bytes) -> DataSa:
    if policy.protocol != Protocol.ESP:
        raise UnusableGroup(f"a Data-Security SA of protocol {policy.protocol}")
    source, destination = policy.source, policy.destination
    if source.first != source.last or destination.first != destination.last:
        raise UnusableGroup("a Data-Security SA with ranges of addresses")
    if source.protocol != destination.protocol or source.first.version != destination.first.version:
        raise UnusableGroup("a Data-Security SA whose selectors do not belong together")
    ports = (source.start_port, source.end_port, destination.start_port, destination.end_port)
    if ports != (0, 65535, 0, 65535):
        raise UnusableGroup("a Data-Security SA with ports")
    bag = kd.bag(policy.protocol, policy.spi)
    if bag is None or (bag.keys[0].key_id, bag.keys[0].kwk_id) != (0, 0):
        raise UnusableGroup(f"no key for SPI {policy.spi.hex()}")
    suite = transforms_suite(policy.transforms)
    keymat = unwrap_key(kwk, bag.keys[0])
    if len(keymat) != suite.keymat_bytes:
        raise UnusableGroup(f"{len(keymat)} octets of keying material for {suite.value}")
    if destination.first.is_multicast and not suite.parameters.group:
        raise UnusableGroup(f"{suite.value} is a counter mode and there is no Sender-ID")
    spi = int.from_bytes(policy.spi, "big")
    if spi < 256:
        raise UnusableGroup(f"SPI {spi} is reserved")
    return DataSa(
        spi, suite, keymat, source.first, destination.first, source.protocol, policy.lifetime_s, bag.replay_floor or 0
    )
