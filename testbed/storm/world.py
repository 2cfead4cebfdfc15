"""The domain on virtual time: every router's LKS core and the DKS's core, and a power failure that is over at 0.

Routers boot within a few seconds of each other, and so does the DKS, which reads its documents first. Datagrams
to the DKS wait in its socket and keep a worker for a declared time; all else costs nothing. Cores are the
daemons' own, with their cryptography. Two things can be left out in large domains, and the result says so:

- `apart`: the interfaces of routers stay down, so that they speak with the DKS and no neighbour;
- `rest_s`: a router that has all it wants, and has had nothing but keep-alives for so long, is computed no more. Its
  keep-alives go on to reach the DKS, as work of the declared length.

Knows nothing of what is made of the figures.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from agents.dks.core import DksCore
from agents.dks.store import GenerationLedger
from agents.ikev2.registry import ExchangeType
from agents.lks.context import LIVENESS
from agents.lks.core import LksCore
from agents.lks.retained import DOCUMENT
from agents.runtime.effects import Effect, Event, Send
from testbed.domains.drawn import DKS_ADDRESS
from testbed.simulation.parties import dks_core, held, router_core
from testbed.simulation.simulation import Node, Simulation
from testbed.simulation.wires import Direct
from testbed.storm.queued import QueuedDks
from testbed.storm.rings import DKS, NAME, RingRouter
from testbed.storm.service import Service
from testbed.storm.tally import Tally

_DKS = str(DKS_ADDRESS)
_EXCHANGE = 18
_INFORMATIONAL = int(ExchangeType.INFORMATIONAL)


class Storm:
    """`rate`, `burst`: the DKS's pace; None: its own defaults."""

    def __init__(
        self,
        ring_routers: Collection[RingRouter],
        seed: int,
        service: Service,
        *,
        apart: bool = False,
        rest_s: float | None = None,
        rate: float | None = None,
        burst: int | None = None,
        keep_times: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """`share`: this is which of how many processes of the DKS, with the routers that the kernel gives it."""
        self.simulation = simulation = Simulation(seed)
        self._share = share
        self.ring_routers = {each.name: each for each in ring_routers}
        self._rest_s = rest_s
        self._apart = apart
        self._central = not next(iter(self.ring_routers.values())).document.local_key_server
        watched = () if apart else ring_routers
        self.tally = Tally(
            {each.name: len(each.interfaces) for each in watched},
            sum(len(interface.protocols) for each in watched for interface in each.document.interfaces),
            sum(len(each.document.pairs) for each in watched),
            keep_times=keep_times,
        )
        self.resting = 0
        self._pace = {name: value for name, value in (("rate", rate), ("burst", burst)) if value is not None}
        self._busy_at: dict[str, float] = {}
        self._sent_at: dict[str, float] = {}
        direct = Direct(simulation, {_DKS: DKS})
        for router in self.ring_routers.values():
            node = simulation.add(Node(router.name, self._router, router.interfaces, up=not apart))
            node.files[DOCUMENT] = router.signed
            direct.join(node, router.loopback)
        self._dks = simulation.add(Node(DKS, self._server, {"eth0": (_DKS, DKS)}))
        self._wires = QueuedDks(simulation, direct, self._dks, _DKS, service, self.tally)
        simulation.wires = self._wires
        simulation.observers.append(self)
        self._ledger = GenerationLedger(":memory:")

    @property
    def longest_queue(self) -> int:
        """How many datagrams waited at the DKS, at most."""
        return self._wires.queue.longest

    # -- power -------------------------------------------------------------------------------------------------------

    def power_returns(self, boots: Mapping[str, float]) -> None:
        """Everybody boots when `boots` says; the DKS answers then. Who is not named there stays without power."""
        for name, when in boots.items():
            self.simulation.at(when, lambda name=name: self.simulation.power_on(name))  # type: ignore[misc]

    def close(self) -> None:
        """Forget the DKS's ledger."""
        self._ledger.close()

    def _router(self, node: Node) -> LksCore:
        key = self.ring_routers[node.name].key
        return router_core(self.simulation, node, NAME, key, lambda: 1000.0 + self.simulation.now)

    def _server(self, _node: Node) -> DksCore:
        documents = held(NAME, (router.signed for router in self.ring_routers.values()))
        return dks_core(self.simulation, NAME, documents, self._ledger, share=self._share, **self._pace)

    # -- what is counted ---------------------------------------------------------------------------------------------

    def saw(self, node: Node, effect: Effect) -> None:
        """As Observer."""
        now = self.simulation.now
        if isinstance(effect, Send):
            if effect.peer.ip == _DKS:
                self._asks(node, effect, now)
        elif isinstance(effect, Event):
            if node is not self._dks:
                self.tally.router(node.name, effect, now)
                return
            first = len(self.tally.admitted)
            self.tally.dks(effect, now)
            if self._rest_s is not None and len(self.tally.admitted) > first:
                router = self.simulation.nodes[effect.fields["peer"]]
                self.simulation.at(now + self._rest_s, lambda: self._look_whether_to_rest(router))

    def _asks(self, node: Node, effect: Send, now: float) -> None:
        if effect.retransmission:
            self.tally.retransmissions[int(now)] += 1
        if effect.data[_EXCHANGE] != _INFORMATIONAL:
            self._busy_at[node.name] = now
        self._sent_at[node.name] = now

    # -- rest --------------------------------------------------------------------------------------------------------

    def _look_whether_to_rest(self, node: Node) -> None:
        """Whoever has all it wants of the DKS, no neighbours that count on it, and nothing but keep-alives to send."""
        assert self._rest_s is not None
        simulation = self.simulation
        satisfied = self._apart or (self._central and node.name in self.tally.keyed)
        if satisfied and node.core is not None and simulation.now - self._busy_at[node.name] >= self._rest_s:
            node.core = None
            self.resting += 1
            simulation.at(self._sent_at[node.name] + LIVENESS.dks_s, self._keep_alive)
        else:
            simulation.at(simulation.now + self._rest_s, lambda: self._look_whether_to_rest(node))

    def _keep_alive(self) -> None:
        self._wires.keep_alive()
        self.simulation.at(self.simulation.now + LIVENESS.dks_s, self._keep_alive)


def instant() -> Service:
    """A DKS that takes no time and loses nothing, as in the guest's virtual time."""
    return Service(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, document_ms=0.0, buffer=1 << 30)
