"""What must hold after each step of a simulated domain, whatever the network, the power and the insiders do.

Judged from outside: kernels, files, the DKS's book, and what the Policy Server signed. Reads no agent's memory, but
for the generation that is sent with when all is at rest. Knows nothing of faults. Times in seconds.
"""

from __future__ import annotations

from collections import Counter

from agents.ipsec.model import Action, Direction
from agents.ipsec.protection import GroupSa, Mode
from agents.lks.retained import COUNTERS, DOCUMENT
from agents.policy import cbor
from agents.policy.document import PolicyDocument, verify_document
from agents.policy.names import GroupId
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.revocation import Revocations
from agents.runtime.effects import Kernel
from agents.runtime.simulation import Node
from agents.runtime.storage import unseal
from testbed.soak.network import POLICY_SERVER, Network

_RECORD = "router-keys/lks-counters/1"
PATIENCE_S = 32.0
"""How long a rekey may wait for members that do not answer, and two seconds for what is on its way."""
_ROUTING = frozenset({89, 103})

Stream = tuple[object, ...]


class Violated(AssertionError):
    """An invariant does not hold. `invariant`: which one."""

    def __init__(self, invariant: str, t: float, what: str) -> None:
        super().__init__(f"{invariant} at {t:.3f} s: {what}")
        self.invariant = invariant


def stream(sa: GroupSa) -> Stream:
    """One speaker's packets to one destination, the same at all nodes."""
    return sa.speaker, sa.destination, sa.protocol


class Invariants:
    """Keeps what was seen of one domain. `checked`: how often each invariant was looked at."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.checked: Counter[str] = Counter()
        self._key: dict[tuple[Stream, int], bytes] = {}
        self._first: dict[tuple[Stream, int], float] = {}
        self._sent: dict[bytes, float] = {}
        self._boot: dict[tuple[str, bytes], int] = {}
        self._newest: dict[tuple[str, Stream], int] = {}
        self._held: dict[str, set[tuple[Stream, int]]] = {}
        self._counters: dict[str, tuple[int, int, int, dict[str, tuple[int, int]]]] = {}
        self._documents: dict[str, tuple[bytes, bytes | None, PolicyDocument]] = {}

    def _hold(self, invariant: str, holds: bool, what: object) -> None:
        self.checked[invariant] += 1
        if not holds:
            raise Violated(invariant, self.network.now, str(what))

    # -- files --------------------------------------------------------------------------------------------------------

    def persisted(self, node: Node) -> None:
        """After a file of a router was written: nothing in the counters ever goes back."""
        record = node.files.get(COUNTERS)
        if record is None:
            return
        value = cbor.decode(unseal(_RECORD, record))
        assert isinstance(value, dict)
        floors = {name: (pair[0], pair[1]) for name, pair in value["floors"].items()}
        now = (value["reserved"], value["version"], value["revocation"], floors)
        before = self._counters.get(node.name)
        if before is not None:
            rising = all(new >= old for new, old in zip(now[:3], before[:3], strict=True))
            rising = rising and all(floors.get(name, (0, 0)) >= pair for name, pair in before[3].items())
            self._hold("no older policy, list or (v, g)", rising, f"{node.name}: {before} became {now}")
        self._counters[node.name] = now

    def _policy(self, node: Node) -> PolicyDocument:
        """What this router's files say, without the revoked."""
        signed, revocation = node.files[DOCUMENT], node.files.get(REVOCATION)
        known = self._documents.get(node.name)
        if known is None or known[:2] != (signed, revocation):
            root = POLICY_SERVER.public_key()
            document = verify_document(signed, root, domain="example", router=node.name)
            revoked = Revocations("example", root)
            if revocation is not None:
                revoked.take(revocation)
            known = self._documents[node.name] = (signed, revocation, revoked.without_revoked(document))
        return known[2]

    # -- kernels ------------------------------------------------------------------------------------------------------

    def enforced(self, node: Node, kernel: Kernel) -> None:
        """After a router's kernel was changed."""
        policy = self._policy(node)
        self._authorised(node, kernel, policy)
        counters = self._counters.get(node.name)
        places: dict[tuple[object, ...], bytes] = {}
        held: set[tuple[Stream, int]] = set()
        for sa in kernel.sas:
            name, t = (stream(sa), sa.generation), self.network.now
            self._hold(
                "one key for a generation", self._key.setdefault(name, sa.keymat) == sa.keymat, (node.name, *name)
            )
            place = (sa.spi, sa.destination)
            self._hold("no SPI collision", places.setdefault(place, sa.keymat) == sa.keymat, (node.name, *place))
            if sa.outbound:
                self._sent.setdefault(sa.keymat, t)
                boot = self._boot.setdefault((node.name, sa.keymat), node.boots)
                self._hold("no key after a reboot", boot == node.boots, (node.name, *name))
                mark = counters[0] if counters is not None else 0
                shared = policy.local_key_server
                self._hold("no generation above the mark", not shared or sa.generation <= mark, (node.name, *name))
                continue
            held.add(name)
            self._first.setdefault(name, t)
            if name not in self._held.get(node.name, set()):
                newest = self._newest.get((node.name, name[0]), 0)
                self._hold("no older policy, list or (v, g)", sa.generation >= newest, (node.name, *name, newest))
                self._newest[node.name, name[0]] = max(newest, sa.generation)
        self._held[node.name] = held
        self._on_the_disk(node, policy, kernel)

    def second(self) -> None:
        """Each second: how old keys in the kernels are. What is sent with lives for `group_s` at most; who came to a
        generation at the end of its life hears it for as long again."""
        life = self.network.domain.settings.lifetimes
        for node in self.network.nodes.values():
            for sa in node.kernel.sas if node.kernel is not None else ():
                if sa.outbound and sa.active:
                    age_s, most_s = self.network.now - self._sent[sa.keymat], life.group_s + PATIENCE_S
                elif not sa.outbound:
                    age_s = self.network.now - self._first[stream(sa), sa.generation]
                    most_s = 2 * life.group_s + life.dtd_s + PATIENCE_S
                else:
                    continue
                self._hold("no key after its life", age_s <= most_s, (node.name, sa.generation, age_s, *stream(sa)))

    def _authorised(self, node: Node, kernel: Kernel, policy: PolicyDocument) -> None:
        allowed = {
            (interface.name, each.address_for(protocol))
            for interface in policy.interfaces
            for protocol in interface.protocols
            for each in interface.neighbors
        }
        for sa in kernel.sas:
            heard = sa.outbound or (sa.interface, sa.speaker) in allowed
            self._hold("no unauthorised speaker", heard, f"{node.name} hears {sa.speaker} on {sa.interface}")
        modes = {interface.name: interface.mode for interface in policy.interfaces}
        for each in kernel.interfaces:
            self._hold("mode as signed", each.mode is modes.get(each.name), f"{node.name} {each.name}: {each.mode}")
        if set(modes.values()) == {Mode.REQUIRED}:
            covered = {each.name for each in kernel.interfaces}
            self._hold("no cleartext", covered == set(modes), f"{node.name} protects {sorted(covered)} only")
            for entry in kernel.wanted().policies:
                takes = entry.direction is Direction.IN and entry.selector.protocol in _ROUTING
                clear = entry.action is Action.ALLOW and (not entry.templates or entry.templates[0].optional)
                self._hold("no cleartext", not (takes and clear), f"{node.name}: {entry}")

    def _on_the_disk(self, node: Node, policy: PolicyDocument, kernel: Kernel) -> None:
        """What is heard has its floor on the disk, before anything follows from it."""
        floors = self._counters[node.name][3] if node.name in self._counters else {}
        if not policy.local_key_server:
            return
        addresses = {
            (interface.name, each.address_for(protocol), protocol): GroupId.of(
                "example", each.router, each.interface, protocol
            )
            for interface in policy.interfaces
            for protocol in interface.protocols
            for each in interface.neighbors
        }
        for sa in kernel.sas:
            if not sa.outbound and sa.destination.is_multicast:
                floor = floors.get(str(addresses[sa.interface, sa.speaker, sa.protocol]), (0, 0))
                self._hold(
                    "floor on the disk", floor[1] >= sa.generation or floor[0] > 1, (node.name, *stream(sa), floor)
                )

    # -- at rest ------------------------------------------------------------------------------------------------------

    def out(self, removed: str) -> None:
        """When its bound is over: nobody hears the removed router."""
        network = self.network
        for name in network.routers:
            deaf = name == removed or not network.hears(name, removed)
            self._hold("a removed router is out in its bound", deaf, f"{name} hears {removed}")

    def back(self, there: bool) -> None:
        """When faults have stopped for as long as it may take: every allowed pair hears each other."""
        self._hold("adjacencies come back", there, "not all neighbours hear each other")

    def book(self) -> None:
        """At rest, where the DKS makes keys: its book has the generations that are sent with. Nobody reports what a
        removed router does; under `issuer: lks` reports come with visits, and the book may be behind between them."""
        network = self.network
        if network.domain.settings.issuer != "dks":
            return
        for name in network.routers:
            if network.nodes[name].core is None or name not in network.documents:
                continue
            for link in network.lks(name).link.values():
                for group, speaker in link.speakers.items():
                    self._hold(
                        "the book is what is sent with",
                        network.book.last(group)[1] == speaker.generation,
                        f"{group}: {network.book.last(group)}, sent with {speaker.generation}",
                    )
