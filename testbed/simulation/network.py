"""Whole domains in a simulation: routers on segments, a Policy Server's key, perhaps a DKS.

A simulation with lossy wires and a record of all events, composed for tests, the soak and the fuzzers.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping, Sequence
from typing import Any

from agents.dks.core import POLL_S, DksCore
from agents.dks.documents import Documents
from agents.dks.store import GenerationLedger
from agents.ipsec.protection import RoutingProtocol
from agents.lks.context import LIVENESS, Liveness
from agents.lks.core import LksCore
from agents.lks.retained import DOCUMENT
from agents.policy import edit
from agents.policy.compile import compile_documents
from agents.policy.document import PolicyDocument
from agents.policy.domain import Domain, Settings
from agents.policy.names import DKS_NAME
from agents.policy.revocation import make_list, sign_list
from testbed.domains.build import domain_of, signed
from testbed.domains.drawn import DKS_ADDRESS, PROTOCOLS, wired
from testbed.domains.keys import Keys
from testbed.simulation.parties import POLICY_SERVER, dks_core, held, key, router_core
from testbed.simulation.record import Record, Seen
from testbed.simulation.simulation import Node, Simulation
from testbed.simulation.wires import Lossy
from testbed.topology.resolved import Topology


class Network(Simulation):
    """`network`: a topology, or segments: name → routers on it; two make a point-to-point link, more a LAN. With no
    protocol of IPv4 among `protocols` links have no IPv4 addresses. `room`: for how many interfaces a router has SPIs,
    at least. `liveness`, `dks_poll_s`: of routers and of the DKS, as their cores take them."""

    wires: Lossy

    def __init__(
        self,
        network: Topology | Mapping[str, Sequence[str]],
        *,
        settings: Settings | None = None,
        dks: bool = False,
        protocols: Sequence[RoutingProtocol] | None = None,
        seed: int = 1,
        loss: float = 0.0,
        duplicate: float = 0.0,
        overtake: float = 0.0,
        keys: Keys = key,
        room: int = 4,
        liveness: Liveness = LIVENESS,
        dks_poll_s: float = POLL_S,
    ) -> None:
        super().__init__(seed)
        self.wires = Lossy(self, loss=loss, duplicate=duplicate, overtake=overtake)
        self.record = Record(self)
        self.observers.append(self.record)
        self.keys = keys
        self._liveness, self._dks_poll_s = liveness, dks_poll_s
        self.topology = network if isinstance(network, Topology) else wired(network, protocols or PROTOCOLS)
        self.domain = domain_of(
            self.topology, key, DKS_ADDRESS, settings or Settings(validity_s=1 << 33),
            protocols=protocols, points=isinstance(network, Topology), room=room,
        )  # fmt: skip
        self.version = 0
        self.signed_at = 0
        """Unix time of the Policy Server's signatures from now on."""
        self.published: dict[tuple[str, int], bytes] = {}
        """Every document that the Policy Server ever signed, by router and version."""
        self._history: list[tuple[float, tuple[PolicyDocument, ...]]] = []
        self.signed_lists: list[bytes] = []
        """Every revocation list, in the order of their versions."""
        self.listed: dict[str, float] = {}
        """When each router last kept a list."""
        self.clocks: dict[str, float] = {}
        """By how many seconds a router's wall clock is set otherwise than all are."""
        self.chance = random.Random(f"doing {seed}")
        """Draws of what is done to the domain, apart from those of wires and cores."""
        self.pace = (500.0, 2000)
        """Registrations that the DKS serves in a second, and at once."""
        self.documents: dict[str, PolicyDocument] = {}
        self.signed: dict[str, bytes] = {}
        self.compile()
        self.routers = list(self.topology.routers)
        for router in self.topology.routers.values():
            policy = self.documents[router.name]
            interfaces = {
                each.name: (str(each.address or each.address6), router.interface(each.name).segment)
                for each in policy.interfaces
            }
            self.add(Node(router.name, self.make_lks, interfaces)).files[DOCUMENT] = self.signed[router.name]
            self.wires.routed.update({str(local): router.name for pair in policy.pairs for local in pair.local})
        self.ledger = GenerationLedger(":memory:")
        self.fresh: list[PolicyDocument] = []
        self._withheld: list[PolicyDocument] = []
        self.revocation: bytes | None = None
        """What the Policy Server exported last."""
        self.wall_offset = 1000.0
        if dks:
            self.add(Node(DKS_NAME, self.make_dks, {"eth0": (str(DKS_ADDRESS), DKS_NAME)}))
            self.wires.remote[str(DKS_ADDRESS)] = DKS_NAME

    def compile(self) -> None:
        """Sign the documents of the domain as it is."""
        self.version += 1
        self.documents = compile_documents(self.domain, self.version, self.signed_at, self.documents)
        self.signed = signed(self.documents, POLICY_SERVER)
        for name, each in self.documents.items():
            self.published[name, each.version] = self.signed[name]
        self._history.append((self.now, tuple(self.documents.values())))

    def publish(self, domain: Domain, *, export: bool = True) -> None:
        """A new policy. `export`: the DKS finds the documents and the list when it looks."""
        self.domain = domain
        before = self.documents
        self.compile()
        signed_list = self.list_of(domain)
        if signed_list is not None and signed_list not in self.signed_lists:
            self.signed_lists.append(signed_list)
        new = {name: each for name, each in self.documents.items() if each != before.get(name)}
        self._withheld = [*(each for each in self._withheld if each.router not in new), *new.values()]
        if export:
            self.export()

    def export(self) -> None:
        """Let the DKS have all that was signed."""
        new, self._withheld = {each.router: each for each in self._withheld}, []
        self.revocation = self.list_of(self.domain)
        self.fresh = [*(each for each in self.fresh if each.router not in new), *new.values()]

    def renew(self) -> None:
        """The Policy Server signs all documents anew, at the time that routers' clocks say it is."""
        self.signed_at, self.documents = int(self.wall_offset + self.now), {}
        self.publish(self.domain)

    def recent(self, since_s: float) -> list[PolicyDocument]:
        """All documents that were the newest of their routers at some moment in the last seconds."""
        began = [number for number, (when, _all) in enumerate(self._history) if when <= self.now - since_s]
        return [each for _when, documents in self._history[(began or [0])[-1] :] for each in documents]

    def list_of(self, domain: Domain) -> bytes | None:
        """The signed list of this domain's revoked keys; its version is their number."""
        if not domain.revoked_routers:
            return None
        version = len(domain.revoked_routers)
        return sign_list(make_list(domain.name, version, 0, domain.revoked_routers), POLICY_SERVER)

    def remove(self, router: str, *, export: bool = True) -> bytes:
        """The Policy Server revokes a router's key: the signed list, to be handed to a router. `export`: the DKS finds
        list and documents when it looks."""
        self.publish(edit.remove_router(self.domain, router), export=export)
        return self.signed_lists[-1]

    def hand_over(self, router: str, signed: bytes) -> None:
        """An administrator gives a router the list."""
        self.command(router, "revocation", base64.b64encode(signed).decode())

    def hand_documents(self, router: str, names: Sequence[str]) -> None:
        """An administrator gives a router the newest documents of these."""
        self.command(router, "accept", *(base64.b64encode(self.signed[name]).decode() for name in names))

    def on(self, name: str) -> bool:
        """It has power from now on; False where it had."""
        if self.nodes[name].core is not None:
            return False
        self.power_on(name)
        return True

    def later(self, name: str, after_s: float) -> None:
        """It has power after so many seconds."""

        def on() -> None:
            self.on(name)

        self.at(self.now + after_s, on)

    def ends(self, segment: str) -> list[tuple[str, str]]:
        """The interfaces of routers of the domain on a segment."""
        members = self.topology.segments[segment].members
        return [(router, name) for router, name in members if router in self.domain.routers]

    def make_lks(self, node: Node) -> LksCore:
        """A router's core, from its files."""

        def wall() -> float:
            return self.wall_offset + self.clocks.get(node.name, 0.0) + self.now

        return router_core(self, node, self.domain.name, self.keys(node.name), wall, liveness=self._liveness)

    def held(self) -> Documents:
        """All documents of now, as a DKS that starts has them."""
        return held(self.domain.name, self.signed.values())

    def make_dks(self, _node: Node) -> DksCore:
        """The DKS's core, with the ledger and the documents of now."""
        documents = self.held()

        def poll() -> list[PolicyDocument]:
            fresh, self.fresh = [each for each in self.fresh if each.router in self.signed], []
            return [each for each in fresh if documents.add(self.signed[each.router]) is not None]

        rate, burst = self.pace
        return dks_core(
            self, self.domain.name, documents, self.ledger,
            poll=poll, poll_list=lambda: self.revocation, rate=rate, burst=burst, poll_s=self._dks_poll_s,
        )  # fmt: skip

    @property
    def events(self) -> list[Seen]:
        """All that happened."""
        return self.record.events

    def seen(self, kind: str, node: str | None = None, **fields: Any) -> list[Seen]:
        """Events of this kind with these fields."""
        return self.record.seen(kind, node, **fields)

    def lks(self, name: str) -> LksCore:
        core = self.nodes[name].core
        assert isinstance(core, LksCore)
        return core

    def power_on_all(self) -> None:
        for name in self.nodes:
            self.power_on(name)

    def hears(self, receiver: str, sender: str) -> bool:
        """Whether some SA that `sender` sends with now is heard by `receiver`, for each multicast group."""
        theirs, ours = self.nodes[sender].kernel, self.nodes[receiver].kernel
        if theirs is None or ours is None:
            return False
        heard = {(sa.spi, sa.destination, sa.keymat) for sa in ours.sas if not sa.outbound}
        shared = {segment for _address, segment in self.nodes[receiver].interfaces.values()}
        sending: dict[tuple[str, object, object], object] = {}
        for sa in theirs.sas:
            segment = self.nodes[sender].interfaces[sa.interface][1]
            if sa.outbound and sa.active and sa.destination.is_multicast and segment in shared:
                key = (sa.interface, sa.protocol, sa.destination)
                known = sending.get(key)
                if known is None or known.generation < sa.generation:  # type: ignore[attr-defined]
                    sending[key] = sa
        used = {(sa.spi, sa.destination, sa.keymat) for sa in sending.values()}  # type: ignore[attr-defined]
        return bool(used) and used <= heard

    def adjacencies(self) -> set[frozenset[str]]:
        return {frozenset({each.a.router, each.b.router}) for each in self.domain.adjacencies}

    def all_keyed(self) -> bool:
        """Whether every allowed adjacency hears in both directions."""
        return all(self.hears(a, b) and self.hears(b, a) for a, b in map(sorted, self.adjacencies()))


def ring(count: int) -> dict[str, tuple[str, str]]:
    names = [f"r{number}" for number in range(1, count + 1)]
    return {f"{a}--{b}": (a, b) for a, b in zip(names, [*names[1:], names[0]], strict=True)}
