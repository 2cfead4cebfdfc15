"""What a Local Key Server does for a neighbour that boots while somebody on the link floods it, beside peace.

Cores and cryptography are the daemon's own, on virtual time in this process: a ring of three routers, of which one is
flooded. Times to keys are virtual; what a datagram costs is this machine's processor time. Knows nothing of sockets.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from agents.ikev2.model import Datagram, PeerAddress
from agents.ipsec.protection import RoutingProtocol
from agents.runtime.effects import Effect, Event
from testbed.simulation.simulation import Node
from testbed.simulation.wires import ON_LINK, PORT
from testbed.storm.case import SETTINGS
from testbed.storm.rings import ring_routers
from testbed.storm.world import Storm, instant

FLOODED, NEIGHBOR, INTERFACE = "r1", "r2", "right"
SETTLE_S, BOOTS_AFTER_S = 10.0, 1.0


@dataclass(frozen=True)
class LksRow:
    """One flood. `keyed_s`: from the neighbour's boot until it has keys with the flooded router, None: never;
    `first_ms`: the most that one of the first datagrams cost; `cpu_ms`: the median of the last half of them."""

    attack: str
    sent: int
    keyed_s: float | None
    first_ms: float
    cpu_ms: float


class _Watch:
    """When the neighbour had keys with the flooded router, in virtual seconds."""

    def __init__(self, world: Storm) -> None:
        self._world = world
        self.at: float | None = None
        world.simulation.observers.append(self)

    def saw(self, node: Node, effect: Effect) -> None:
        """As Observer."""
        keyed = isinstance(effect, Event) and effect.kind == "keyed" and effect.fields["neighbor"] == FLOODED
        if keyed and node.name == NEIGHBOR:
            self.at = self._world.simulation.now


def measure(attack: str, datagrams: Iterator[tuple[int, bytes]], per_s: float, seconds: float, seed: int = 1) -> LksRow:
    """So many datagrams of this attack a virtual second, from the neighbour's own address, for so long; the neighbour
    boots a second after the first. Without datagrams: peace."""
    world = Storm(list(ring_routers(3, SETTINGS["lks"], (RoutingProtocol.OSPF,))), seed, instant())
    simulation, chance = world.simulation, random.Random(seed)
    world.power_returns({name: chance.uniform(0, 1) for name in simulation.nodes})
    simulation.run(SETTLE_S)
    simulation.power_off(NEIGHBOR)
    watch = _Watch(world)
    began = simulation.now
    simulation.at(began + BOOTS_AFTER_S, lambda: simulation.power_on(NEIGHBOR))
    mine, link = simulation.nodes[FLOODED].interfaces[INTERFACE]
    theirs = next(address for address, segment in simulation.nodes[NEIGHBOR].interfaces.values() if segment == link)
    peer = PeerAddress(theirs, PORT, mine, INTERFACE, PORT)
    costs: list[float] = []
    for _source, data in datagrams:
        if len(costs) >= seconds * per_s:
            break
        simulation.run(began + len(costs) / per_s)
        before = time.process_time()
        simulation.deliver(FLOODED, Datagram(data, peer, ON_LINK))
        costs.append(1000 * (time.process_time() - before))
    simulation.run(max(simulation.now, began + seconds))
    world.close()
    return LksRow(
        attack,
        len(costs),
        None if watch.at is None else round(watch.at - began - BOOTS_AFTER_S, 3),
        round(max(costs[:10], default=0.0), 3),
        round(statistics.median(costs[len(costs) // 2 :] or [0.0]), 3),
    )
