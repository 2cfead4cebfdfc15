"""Judges a router's files: only whole and signed things that the Policy Server gave out, and nothing ever goes back.

Read by `witness`, not by the agents' code. Knows nothing of kernels but what generation a speaker has come to.
"""

from __future__ import annotations

from itertools import repeat

from agents.lks.carrying import CARRIED
from agents.lks.retained import COUNTERS, DOCUMENT
from agents.policy.revocation import FILE as REVOCATION
from testbed.simulation.network import Network
from testbed.simulation.parties import POLICY_SERVER
from testbed.simulation.simulation import Node
from testbed.soak import witness
from testbed.soak.verdict import Verdict

ROOT = POLICY_SERVER.public_key().public_bytes_raw()
OLDER = "no older policy, list or (v, g)"
SIGNED = "only what the Policy Server signed"
MOST_CARRIED = 64
"""Of those that a router's document names, and of those that were handed over, each."""


class Files:
    """What was seen of the files of one domain's routers. `liars`: as for Keys."""

    def __init__(self, network: Network, verdict: Verdict, liars: set[str]) -> None:
        self._network, self._hold, self._liars = network, verdict.hold, liars
        self._counters: dict[str, witness.Kept] = {}
        self._versions: dict[str, int] = {}
        self._lists: dict[str, int] = {}
        self._policies: dict[str, tuple[bytes, bytes | None, witness.Policy]] = {}
        self._made: dict[str, int] = {}
        self._carried: dict[str, dict[str, int]] = {}
        self.written: dict[str, float] = {}
        """When each router last wrote a document."""

    def restored(self, name: str) -> None:
        """As for Keys."""
        for seen in (self._counters, self._versions, self._lists, self._carried):
            seen.pop(name, None)

    def counters(self, name: str) -> witness.Kept | None:
        """What a router's counters said when they were last written."""
        return self._counters.get(name)

    def list_version(self, node: Node) -> int:
        """Of the revocation list on this router's disk."""
        return witness.revoked(node.files.get(REVOCATION), ROOT, self._network.domain.name)[0]

    def policy(self, node: Node) -> witness.Policy:
        """What a router's files tell it to do."""
        signed, revocation = node.files[DOCUMENT], node.files.get(REVOCATION)
        known = self._policies.get(node.name)
        if known is None or known[:2] != (signed, revocation):
            try:
                policy = witness.policy_of(signed, revocation, ROOT, self._network.domain.name, node.name)
            except witness.Untrue as error:
                self._hold(SIGNED, False, f"{node.name}: {error}")
                raise
            self._hold(SIGNED, self._network.published.get((node.name, policy.version)) == signed, node.name)
            known = self._policies[node.name] = signed, revocation, policy
        return known[2]

    def persisted(self, node: Node, name: str) -> None:
        """After this file of a router was written."""
        if name == COUNTERS:
            self._count(node)
        elif name == DOCUMENT:
            version, before = self.policy(node).version, self._versions.get(node.name, 0)
            self._hold(OLDER, version >= before, f"{node.name}: policy {before} became {version}")
            self._versions[node.name] = version
            self.written[node.name] = self._network.now
        elif name == CARRIED:
            self._carry(node)
        elif name == REVOCATION:
            self.policy(node)
            version, before = self.list_version(node), self._lists.get(node.name, 0)
            self._hold(SIGNED, node.files[REVOCATION] in self._network.signed_lists, f"{node.name}: list {version}")
            self._hold(OLDER, version >= before, f"{node.name}: list {before} became {version}")
            self._lists[node.name] = version

    def carried(self, node: Node) -> dict[str, int]:
        """Of which router's document this one has which version on its disk, beside its own."""
        record = node.files.get(CARRIED)
        documents = () if record is None else witness.carried(record, ROOT)
        return {router: version for router, version, _signed, _handed in documents}

    def _carry(self, node: Node) -> None:
        try:
            documents = witness.carried(node.files[CARRIED], ROOT)
        except witness.Untrue as error:
            self._hold(SIGNED, False, f"{node.name} carries what is not signed: {error}")
            raise
        for router, version, signed, _handed in documents:
            genuine = self._network.published.get((router, version)) == signed
            self._hold(SIGNED, genuine, f"{node.name} carries {router} {version}")
        now, before = self.carried(node), self._carried.get(node.name, {})
        older = {router for router, version in now.items() if version < before.get(router, 0)}
        self._hold(OLDER, not older, f"{node.name} carries older documents of {sorted(older)}")
        handed = sum(each for *_document, each in documents)
        few = len(now) == len(documents) and max(handed, len(documents) - handed) <= MOST_CARRIED
        self._hold("few documents are carried", few, (node.name, len(documents), handed))
        self._carried[node.name] = now
        self.written[node.name] = self._network.now

    def _count(self, node: Node) -> None:
        try:
            now = witness.kept(node.files[COUNTERS])
        except witness.Untrue as error:
            self._hold("whole records", False, f"{node.name}: {error}")
            raise
        before = self._counters.get(node.name)
        if before is not None:
            falls = now.reserved < before.reserved or now.version < before.version or now.revocation < before.revocation
            kept = (now.floors.get(group, (0, 0)) for group in before.floors)
            goes_on = all(map(witness.follows, kept, before.floors.values(), repeat(now.version)))
            self._hold(OLDER, goes_on and not falls, f"{node.name}: {before} became {now}")
        for group, pair in now.floors.items():
            if (before is None or before.floors.get(group) != pair) and group.split("/")[1] not in self._liars:
                self._hold(
                    "a floor is its speaker's", pair[1] <= self._came_to(group, pair[1]), (node.name, group, pair)
                )
        self._counters[node.name] = now

    def made(self, group: str, generation: int) -> None:
        """This generation of a group was in its speaker's kernel, or in the DKS's ledger."""
        self._made[group] = max(generation, self._made.get(group, 0))

    def _came_to(self, group: str, generation: int) -> int:
        if self._made.get(group, 0) < generation:
            self.look_at_ledger()
        return self._made.get(group, 0)

    def look_at_ledger(self) -> None:
        """What the DKS has written down."""
        for group, (_version, generation) in self._network.ledger.entries().items():
            self.made(group, generation)
