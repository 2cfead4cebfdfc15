"""Hostile parties with good keys: what a neighbour, a member or a DKS puts inside the encryption is mutated.

An input is a program: the first octet picks the moment and the rest says what becomes of the honest payloads then. Each
input begins with a network of its own, so that it does the same every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from agents.ikev2 import Payload, RawPayload
from agents.ikev2.sa import IkeSa
from agents.lks.core import LksCore
from agents.lks.retained import COUNTERS, DOCUMENT
from fuzz.harness import promise
from testbed.simulation.network import Network
from testbed.simulation.simulation import Node

MOST_PAYLOADS = 12


def rewritten(payloads: Sequence[Payload], program: bytes) -> list[Payload]:
    """The honest payloads after these instructions: operation, payload, two octets of place, a length, its octets."""
    parts = [(int(each.payload_type), bytearray(each.body())) for each in payloads]
    at = 0
    while at + 5 <= len(program) and len(parts) < MOST_PAYLOADS:
        operation, which, number = program[at], program[at + 1], int.from_bytes(program[at + 2 : at + 4], "big")
        length = program[at + 4] % 33
        octets = program[at + 5 : at + 5 + length]
        at += 5 + length
        if operation % 8 == 7 or not parts:
            parts.append((which, bytearray(octets)))
            continue
        kind, body = parts[which % len(parts)]
        spot = number % (len(body) + 1)
        match operation % 8:
            case 0:
                body[spot : spot + len(octets)] = octets
            case 1:
                body[spot:spot] = octets
            case 2:
                del body[spot : spot + max(1, length)]
            case 3:
                del parts[which % len(parts)]
            case 4:
                parts.append((kind, bytearray(body)))
            case 5:
                parts[which % len(parts)] = (octets[0] if octets else 0, body)
            case 6 if body:
                body[spot % len(body)] ^= 1 << (length % 8)
    return [RawPayload(kind, bytes(body)) for kind, body in parts]


@dataclass
class Liar:
    """Has one party rewrite what it says in one exchange. Patches the parties' endpoint while it is in force."""

    network: Network
    name: str
    exchange: int
    response: bool
    program: bytes
    lies: int = 0
    _patch: Any = field(default=None, repr=False)

    def __enter__(self) -> Liar:
        seal = IkeSa.seal
        liar = self

        def lie(
            self: IkeSa, exchange: int, message_id: int, response: bool, payloads: Sequence[Payload]
        ) -> list[bytes]:
            mine = self.party.identity.id.data.decode().endswith(f"/{liar.name}")
            if mine and self.keys is not None and (exchange, response) == (liar.exchange, liar.response):
                liar.lies += 1
                payloads = rewritten(payloads, liar.program)
            return seal(self, exchange, message_id, response, payloads)

        self._patch = patch.object(IkeSa, "seal", lie)
        self._patch.start()
        return self

    def __exit__(self, *_words: object) -> None:
        self._patch.stop()


def state_of(node: Node) -> tuple[object, ...]:
    """What a refused rekey must leave as it was: what is heard, files, policy."""
    kernel = node.kernel
    heard = frozenset() if kernel is None else frozenset(sa for sa in kernel.sas if not sa.outbound)
    version = node.core.document.version if isinstance(node.core, LksCore) else 0
    return heard, node.files.get(COUNTERS), node.files.get(DOCUMENT), version


def refused_alike(network: Network, victim: str, job: Callable[[], object]) -> bool:
    """Do it. When the victim refused a rekey, all that it heard and kept is as before; whether it did refuse.

    The liar tells the same each time, so that a rekey that was refused once is not taken when it is sent again.
    """
    node = network.nodes[victim]
    before, seen = state_of(node), len(network.events)
    job()
    events = [each for each in network.events[seen:] if each.node == victim]
    refusals = [each for each in events if each.kind == "error" and each.fields.get("what") == "rekey"]
    if refusals and not any(each.kind in ("registered", "policy", "ike") for each in events):
        promise(state_of(node) == before, f"a refused rekey changed something: {refusals[0].fields}")
    return bool(refusals)


def programs() -> Iterator[bytes]:
    """Small programs to begin from: each operation once."""
    for moment in range(8):
        yield bytes((moment,))
        for operation in range(8):
            yield bytes((moment, operation, 0, 0, 4, 2, 0xFF, 0xFF))
            yield bytes((moment, operation, 1, 0, 0, 1, 0x29))


__all__ = ["Liar", "programs", "refused_alike", "rewritten", "state_of"]
