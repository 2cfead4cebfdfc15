"""A datagram from an allowed neighbour's address, to an endpoint that answers and one that asks: nothing is raised."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.harness import Target, promise
from fuzz.samples import handshake, router_in_handshake


def run(data: bytes) -> object:
    endpoint, datagram = router_in_handshake(data)
    endpoint.receive(datagram, 1.0)
    effects = endpoint.take()
    octets = sum(len(getattr(effect, "data", b"")) for effect in effects)
    promise(octets <= max(len(data), 28) * 3 + 1024, f"{octets} octets of answer to {len(data)}: an amplifier")
    return [type(effect).__name__ for effect in effects]


def seeds() -> Iterator[bytes]:
    yield from handshake()


TARGET = Target(run, (), seeds)
