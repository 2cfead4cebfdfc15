"""Wires that end in the DKS's socket: what is sent to the DKS waits there, and keeps a worker for a declared time.

Everything else goes as the wires below carry it. Knows nothing of routers, nor of what is counted.
"""

from __future__ import annotations

from agents.ikev2.model import Datagram, PeerAddress
from agents.runtime.effects import Send
from testbed.simulation.simulation import Node, Simulation
from testbed.simulation.wires import PORT, ROUTED, Direct
from testbed.storm.service import Queue, Service
from testbed.storm.tally import Tally


class QueuedDks:
    """`dks`: the node, reached at this address."""

    def __init__(
        self, simulation: Simulation, wires: Direct, dks: Node, address: str, service: Service, tally: Tally
    ) -> None:
        self._simulation, self._wires, self._dks, self._address = simulation, wires, dks, address
        self._service, self._tally = service, tally
        self.queue = Queue(service.workers, service.buffer)

    def send(self, node: Node, effect: Send) -> None:
        """As Wires."""
        if effect.peer.ip != self._address:
            self._wires.send(node, effect)
            return
        source = next(iter(node.interfaces.values()))[0]
        datagram = Datagram(effect.data, PeerAddress(source, PORT, self._address, "", PORT), ROUTED)
        self._wires.after_delay(lambda: self._arrive(datagram))

    def keep_alive(self) -> None:
        """A router sends one, which is counted, keeps a worker, and is not computed."""
        self._wires.after_delay(lambda: self._arrive(None))

    def _arrive(self, datagram: Datagram | None) -> None:
        if self._dks.core is None:
            return  # nobody listens on that port yet
        room = self.queue.offer(datagram)
        self._tally.arrived(self._simulation.now, len(self.queue.waiting), room)
        self._work()

    def _work(self) -> None:
        core, simulation = self._dks.core, self._simulation
        while self.queue.ready and core is not None:
            datagram = self.queue.waiting.popleft()
            if datagram is None:
                self._tally.keep_alive(simulation.now)
                took_s, late = self._service.informational_ms / 1000, []
            else:
                core.receive(datagram, simulation.now)
                effects = core.take()
                took_s = self._service.of(effects)
                late = [each for each in effects if isinstance(each, Send)]
                for effect in effects:
                    if not isinstance(effect, Send):
                        simulation.do(self._dks, effect)
            if not took_s:
                self._answer(late)
                continue
            self.queue.busy += 1
            simulation.at(simulation.now + took_s, lambda late=late: self._finish(late))  # type: ignore[misc]
        simulation.after(self._dks)

    def _finish(self, late: list[Send]) -> None:
        self.queue.busy -= 1
        self._answer(late)
        self._work()

    def _answer(self, sends: list[Send]) -> None:
        for each in sends:
            self._simulation.do(self._dks, each)
