"""Faults of the network and of clocks: what becomes of datagrams on their way. Each takes a world, who and how much."""

from __future__ import annotations

from dataclasses import replace

from testbed.soak.world import World


def noise(world: World, _who: str, size: float) -> None:
    """Datagrams are lost, come twice and overtake each other for `size` seconds."""
    wires = world.wires
    wires.loss, wires.duplicate, wires.overtake = 0.3, 0.2, 0.2

    def calm() -> None:
        wires.loss = wires.duplicate = wires.overtake = 0.0

    world.at(world.now + size, calm)


def cut(world: World, who: str, size: float) -> None:
    """A segment passes nothing, and nobody notices."""
    world.sever(who, 3 * size)


def dks_cut(world: World, _who: str, size: float) -> None:
    """The DKS is out of reach."""
    world.isolate_dks(3 * size)


def replay(world: World, _who: str, size: float) -> None:
    """Old datagrams come again, to whom they were for."""
    for passing in world.chance.sample(world.passed, min(len(world.passed), 1 + int(size))):
        world.deliver(passing.receiver, passing.datagram)


def forge(world: World, _who: str, size: float) -> None:
    """Old datagrams come again with a bit turned over."""
    for passing in world.chance.sample(world.passed, min(len(world.passed), 1 + int(size))):
        data = bytearray(passing.datagram.data)
        data[world.chance.randrange(len(data))] ^= 1 << world.chance.randrange(8)
        world.deliver(passing.receiver, replace(passing.datagram, data=bytes(data)))


def clock(world: World, _who: str, size: float) -> None:
    """Wall clocks jump, up to some three hours, forward or back."""
    world.wall_offset += 1000.0 * (size - 12.0)
