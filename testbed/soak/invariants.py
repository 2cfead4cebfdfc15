"""What must hold after each step of a simulated domain, whatever the network, the power and the insiders do.

Judged from outside: kernels, files, the DKS's ledger, and what the Policy Server signed. Reads no agent's memory, but
for the generation that is sent with when all is at rest. Knows nothing of faults. Times in seconds.
"""

from __future__ import annotations

from collections import Counter

from agents.ipsec.protection import GroupSa
from agents.policy.revocation import FILE as REVOCATION
from agents.runtime.effects import Event, Kernel
from testbed.simulation.network import Network
from testbed.simulation.simulation import Node
from testbed.soak.judge_access import Access
from testbed.soak.judge_files import Files
from testbed.soak.judge_keys import Keys, sent_with
from testbed.soak.judge_pace import Pace
from testbed.soak.verdict import Verdict, Violated

__all__ = ["Invariants", "Violated"]


class Invariants:
    """The judge of one domain. `liars`: insiders, whose own groups are theirs to spoil."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.liars: set[str] = set()
        self._verdict = Verdict(lambda: network.now)
        self.hold = self._verdict.hold
        self.files = Files(network, self._verdict, self.liars)
        self.keys = Keys(network, self._verdict, self.liars)
        self.access = Access(network, self._verdict, self.files, self.liars)
        self.pace = Pace(network, self._verdict, self.liars)

    @property
    def checked(self) -> Counter[str]:
        """How often each invariant was looked at."""
        return self._verdict.checked

    def restored(self, name: str) -> None:
        """This router's folder was put back as a whole, or lost."""
        self.keys.restored(name)
        self.files.restored(name)

    def persisted(self, node: Node, name: str) -> None:
        """After a file of a router was written."""
        if name == REVOCATION:
            self.network.listed[node.name] = self.network.now
        self.files.persisted(node, name)

    def enforced(self, node: Node, kernel: Kernel) -> None:
        """After a router's kernel was changed."""
        for sa in kernel.sas:
            if sa.outbound:
                self.files.made(
                    f"{self.network.domain.name}/{node.name}/{sa.interface}/{sa.protocol.value}", sa.generation
                )
        policy, counters = self.files.policy(node), self.files.counters(node.name)
        self.keys.enforced(node, kernel, counters, policy)
        self.access.enforced(node, kernel)

    def _group(self, router: str, sa: GroupSa) -> str:
        return f"{self.network.domain.name}/{router}/{sa.interface}/{sa.protocol.value}"

    def event(self, node: Node, event: Event) -> None:
        """Something that an agent put on record."""
        self.pace.event(node, event)
        self.access.event(node, event)

    def second(self) -> None:
        """Each second of the simulation."""
        self.keys.second()
        self.access.second()
        self.files.look_at_ledger()

    # -- at rest ------------------------------------------------------------------------------------------------------

    def out(self, removed: str) -> None:
        """When its bound is over: nobody hears the removed router."""
        for name in self.network.routers:
            deaf = name == removed or not self.network.hears(name, removed)
            self.hold("a removed router is out in its bound", deaf, f"{name} hears {removed}")

    def back(self, there: bool) -> None:
        """When faults have stopped for as long as it may take: every allowed pair hears each other."""
        self.hold("adjacencies come back", there, "not all neighbours hear each other")

    def ledger(self) -> None:
        """At rest, where the DKS makes keys: its ledger has the generations that are sent with. Nobody reports what a
        removed router does; under `issuer: lks` reports come with visits, and the ledger may be behind between them."""
        network = self.network
        if network.domain.settings.issuer != "dks":
            return
        for name in network.routers:
            node = network.nodes[name]
            if node.kernel is None or name not in network.documents:
                continue
            for sa in sent_with(node.kernel.sas):
                group = self._group(name, sa)
                recorded = network.ledger.entries().get(group, (0, 0))[1]
                same = recorded == sa.generation
                self.hold("the ledger matches the keys in use", same, (group, recorded, sa.generation))
