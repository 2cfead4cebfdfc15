"""Judges the keys in kernels: one key for a generation, no number twice, none after its life or a reboot.

From outside, by what kernels hold. `liars`: routers whose own groups are theirs to spoil. Times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator

from agents.ipsec.plan import GRACE_S
from agents.ipsec.protection import GroupSa
from agents.runtime.effects import Kernel
from testbed.simulation.network import Network
from testbed.simulation.simulation import Node
from testbed.soak.verdict import Verdict
from testbed.soak.witness import Kept, Policy, follows

PATIENCE_S = 32.0
"""How long a rekey may wait for members that do not answer, and two seconds for what is on its way."""
PACKETS = 7
"""How many a speaker sends in a second with each key."""

Stream = tuple[object, ...]
SaKey = tuple[object, ...]


def stream(sa: GroupSa) -> Stream:
    """One speaker's packets to one destination, the same at all nodes."""
    return sa.speaker, sa.destination, sa.protocol


def sent_with(sas: tuple[GroupSa, ...]) -> Iterator[GroupSa]:
    """Of outbound SAs those that packets leave with: the newest active one of each place."""
    newest: dict[SaKey, GroupSa] = {}
    for sa in sas:
        key = (sa.interface, sa.protocol, sa.destination)
        known = newest.get(key)
        if sa.outbound and sa.active and (known is None or known.generation < sa.generation):
            newest[key] = sa
    yield from newest.values()


class Keys:
    """What was seen of the keys of one domain."""

    def __init__(self, network: Network, verdict: Verdict, liars: set[str]) -> None:
        self._network, self._hold, self._liars = network, verdict.hold, liars
        self._owner = {
            address: node.name for node in network.nodes.values() for address, _segment in node.interfaces.values()
        }
        self._key: dict[tuple[str, int, Stream, int], bytes] = {}
        self._restored: set[str] = set()
        self._made: dict[Stream, set[bytes]] = {}
        self._first: dict[bytes, float] = {}
        self._sent: dict[bytes, float] = {}
        self._boot: dict[tuple[str, bytes], int] = {}
        self._newest: dict[tuple[str, Stream], tuple[int, int]] = {}
        self._before: dict[str, tuple[int, set[bytes]]] = {}
        self._used: dict[tuple[str, bytes], int] = {}
        self._accepted: dict[tuple[str, bytes], int] = {}

    def _honest(self, sa: GroupSa) -> bool:
        return self._owner.get(str(sa.speaker)) not in self._liars

    def restored(self, name: str) -> None:
        """This router's folder was put back as a whole, or lost: it cannot know what it has been."""
        self._restored.add(name)
        for key in [each for each in self._newest if each[0] == name]:
            del self._newest[key]
        for number in [each for each in self._key if each[0] == name]:
            del self._key[number]

    def _whose(self, node: Node, sa: GroupSa) -> tuple[str, int]:
        """For whom a number has one key: for all and ever. One whose folder was put back has it for each that hears it,
        and for itself from one boot to the next."""
        if self._owner.get(str(sa.speaker)) not in self._restored:
            return "", 0
        return node.name, node.boots if sa.outbound else 0

    def enforced(self, node: Node, kernel: Kernel, kept: Kept | None, policy: Policy) -> None:
        """After a router's kernel was changed. `kept`, `policy`: what its files say."""
        mark, shared = kept.reserved if kept is not None else 0, policy.local_key_server
        floors = kept.floors if kept is not None else {}
        versions = {
            (each.interface, each.speaker, each.protocol): floors.get(each.group, (0, 0))[0] for each in policy.heard
        }
        boots, before = self._before.get(node.name, (0, set()))
        if boots != node.boots:
            before = set()
        keys: dict[SaKey, bytes] = {}
        for sa in sorted(kernel.sas, key=lambda each: each.generation):
            here = (node.name, *stream(sa), sa.generation)
            if self._honest(sa):
                number = (*self._whose(node, sa), stream(sa), sa.generation)
                known = self._key.setdefault(number, sa.keymat)
                self._hold("one key for a generation", known == sa.keymat, here)
            key = (sa.spi, sa.destination)
            self._hold("no SPI collision", keys.setdefault(key, sa.keymat) == sa.keymat, (node.name, *key))
            if sa.outbound:
                self._outbound(node, sa, mark, shared, fresh=sa.keymat not in before)
            elif sa.keymat not in before:
                own = kept.version if kept is not None else 0
                self._inbound(node, sa, shared, versions.get((sa.interface, sa.speaker, sa.protocol.value), 0), own)
        self._ends(node, kernel)
        self._before[node.name] = node.boots, {sa.keymat for sa in kernel.sas}

    def _ends(self, node: Node, kernel: Kernel) -> None:
        """Each SA has an end in the kernel, by which it goes also from under a dead agent: no later than a little
        beyond the key's life, however often it is put there anew, and not before it is planned to go."""
        life, now = self._network.domain.settings.lifetimes, self._network.now
        left = {(each.destination, each.spi): each.lifetime.hard_add_s for each in kernel.wanted().associations}
        for sa in kernel.sas:
            since = (self._sent if sa.outbound else self._first)[sa.keymat]
            most_s = (life.group_s if sa.outbound else 2 * life.group_s + life.dtd_s) + PATIENCE_S + GRACE_S
            left_s = left.get((sa.destination, sa.spi))
            if left_s is None:
                continue  # its interface is in clear
            ends = left_s > 0 and now + left_s - since <= most_s and now + left_s >= sa.until
            self._hold("every key ends in the kernel", ends, (node.name, left_s, now - since, stream(sa)))

    def _outbound(self, node: Node, sa: GroupSa, mark: int, shared: bool, *, fresh: bool) -> None:
        here = (node.name, *stream(sa), sa.generation)
        self._made.setdefault(stream(sa), set()).add(sa.keymat)
        self._sent.setdefault(sa.keymat, self._network.now)
        boot = self._boot.setdefault((node.name, sa.keymat), node.boots)
        self._hold("no key after a reboot", boot == node.boots, here)
        self._hold("no generation above the mark", not shared or sa.generation <= mark, here)
        if fresh:
            used = self._used.get((node.name, sa.keymat), 0)
            self._hold("no number twice under one key", sa.replay_floor >= used, (*here, sa.replay_floor, used))
            node.sequences[sa.spi, sa.destination] = sa.replay_floor

    def _inbound(self, node: Node, sa: GroupSa, shared: bool, version: int, own: int) -> None:
        here = (node.name, *stream(sa), sa.generation)
        self._first.setdefault(sa.keymat, self._network.now)
        pair, newest = (version, sa.generation), self._newest.get((node.name, stream(sa)), (0, 0))
        self._hold("no older policy, list or (v, g)", follows(pair, newest, own), (*here, pair, newest))
        self._newest[node.name, stream(sa)] = pair if follows(pair, newest, own) else newest
        if shared and self._honest(sa):
            accepted = self._accepted.get((node.name, sa.keymat), 0)
            self._hold("no packet is accepted twice", sa.replay_floor >= accepted, (*here, sa.replay_floor, accepted))
            self._hold("a key is its speaker's", sa.keymat in self._made.get(stream(sa), ()), here)

    def second(self) -> None:
        """Each second: speakers send, neighbours hear, keys age. What is sent with lives for `group_s` at most; who
        came to a generation at the end of its life hears it for as long again."""
        life = self._network.domain.settings.lifetimes
        now = self._network.now
        for node in self._network.nodes.values():
            sas = node.kernel.sas if node.kernel is not None else ()
            for sa in sent_with(sas):
                age_s = now - self._sent[sa.keymat]
                self._hold(
                    "no key after its lifetime", age_s <= life.group_s + PATIENCE_S, (node.name, age_s, stream(sa))
                )
                self._send(node, sa)
            for sa in sas:
                if not sa.outbound:
                    age_s = now - self._first[sa.keymat]
                    most_s = 2 * life.group_s + life.dtd_s + PATIENCE_S
                    self._hold("no key after its lifetime", age_s <= most_s, (node.name, age_s, stream(sa)))

    def _send(self, node: Node, sa: GroupSa) -> None:
        key = (sa.spi, sa.destination)
        number = node.sequences[key] = node.sequences.get(key, sa.replay_floor) + PACKETS
        self._used[node.name, sa.keymat] = number
        segment = node.interfaces[sa.interface][1]
        if segment in self._network.wires.cut:
            return
        for other in self._network.nodes.values():
            near = any(there == segment for _address, there in other.interfaces.values())
            near = near and not self._network.wires.parted(node.name, other.name)
            hears = near and other is not node and other.kernel is not None
            if hears and sa.keymat in self._before.get(other.name, (0, ()))[1]:
                self._accepted[other.name, sa.keymat] = number
