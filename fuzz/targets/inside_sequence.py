"""A neighbour with its own good key that lies in every message, each time in another way, and in any exchange."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from unittest.mock import patch

from agents.ikev2 import Payload
from agents.ikev2.sa import IkeSa
from agents.policy.domain import Settings
from fuzz.harness import Target, promise
from fuzz.inside import rewritten
from testbed.domains.drawn import PROTOCOLS
from testbed.simulation.network import Network

_STEP = 16
"""Octets of a program for each message."""


def run(data: bytes) -> object:
    settings = Settings(validity_s=1 << 33)
    network = Network({"link": ("a", "b"), "other": ("a", "c")}, settings=settings, protocols=PROTOCOLS[:1])
    network.power_on("c")
    network.power_on("a")
    promise(network.run(10.0, lambda: network.hears("a", "c") and network.hears("c", "a")), "honest ones are not keyed")
    programs = [data[at : at + _STEP] for at in range(0, len(data), _STEP)]
    lies, seal = 0, IkeSa.seal

    def lie(self: IkeSa, exchange: int, message_id: int, response: bool, payloads: Sequence[Payload]) -> list[bytes]:
        nonlocal lies
        if self.party.identity.id.data.decode().endswith("/b") and self.keys is not None and lies < len(programs):
            payloads = rewritten(payloads, programs[lies])
            lies += 1
        return seal(self, exchange, message_id, response, payloads)

    with patch.object(IkeSa, "seal", lie):
        network.power_on("b")
        for _ in range(3):
            network.run(network.now + 3)
            network.command("b", "rekey")
    network.command("a", "rekey")
    network.run(network.now + 40)
    promise(network.hears("a", "c") and network.hears("c", "a"), "an honest neighbour is not heard any more")
    return (lies, network.hears("a", "b"))


def seeds() -> Iterator[bytes]:
    for operation in range(8):
        for first in range(8):
            step = bytes((operation, 0, 0, 4, 2, 0xFF, 0xFF)) + bytes(_STEP - 7)
            quiet = bytes((0, 0, 0, 0, 0)) * 3 + b"\0"
            yield quiet * first + step + bytes((7 - operation, 1, 0, 0, 1, 0x29)).ljust(_STEP, b"\0")


TARGET = Target(run, (), seeds)
