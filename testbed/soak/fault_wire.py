"""Faults of the network: what becomes of datagrams on their way."""

from __future__ import annotations

from dataclasses import replace

from testbed.faults.simulated import AlterDatagrams, Noise, ReplayDatagrams
from testbed.soak.world import World


def noise(world: World, step: Noise) -> None:
    """Every wire alike."""
    wires = world.wires
    wires.loss, wires.duplicate, wires.overtake = 0.3, 0.2, 0.2

    def calm() -> None:
        wires.loss = wires.duplicate = wires.overtake = 0.0

    world.at(world.now + step.for_s, calm)


def replay(world: World, step: ReplayDatagrams) -> None:
    """As they were."""
    for passing in world.chance.sample(world.passed, min(len(world.passed), step.count)):
        world.deliver(passing.receiver, passing.datagram)


def alter(world: World, step: AlterDatagrams) -> None:
    """Any bit."""
    for passing in world.chance.sample(world.passed, min(len(world.passed), step.count)):
        data = bytearray(passing.datagram.data)
        data[world.chance.randrange(len(data))] ^= 1 << world.chance.randrange(8)
        world.deliver(passing.receiver, replace(passing.datagram, data=bytes(data)))
