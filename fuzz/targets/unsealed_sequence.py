"""Datagrams without a key, one after the other, to LKSs and a DKS at several moments: no sequence changes anything.

The same parties serve all inputs of a moment, since none of them may change them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from agents.policy.domain import Settings
from fuzz.harness import Target, promise
from testbed.domains.drawn import PROTOCOLS
from testbed.simulation.network import Network
from testbed.simulation.wires import Passing
from testbed.soak.outsider import forged, stir
from testbed.soak.unsealed import claims_to_be_sealed

_MOST = 12
_MOMENTS_S = (0.003, 0.006, 0.009, 0.5)
"""Amid a handshake, amid its end, amid a registration, and at rest."""


@dataclass
class _Scene:
    network: Network
    passed: list[Passing]
    target: Passing
    """To its receiver goes what is forged, in its sender's name."""


class _Program:
    """Octets read as choices; zero when there are no more."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def over(self) -> bool:
        return self._at >= len(self._data)

    def pick(self, below: int) -> int:
        octets = self._data[self._at : self._at + 2]
        self._at += 2 if below > 256 else 1
        return (int.from_bytes(octets, "big") if below > 256 else (octets or b"\0")[0]) % below


@lru_cache(maxsize=16)
def _scene(moment: int, dks: bool) -> _Scene:
    settings = Settings(validity_s=1 << 33, issuer="dks" if dks else "lks", local_key_server=not dks)
    network = Network({"link": ("a", "b")}, settings=settings, dks=dks, protocols=PROTOCOLS[:1])
    passed: list[Passing] = []

    def tap(passing: Passing) -> Passing:
        passed.append(passing)
        return passing

    network.wires.tap = tap
    network.power_on_all()
    network.run(20.0, lambda: bool(passed))
    network.run(network.now + _MOMENTS_S[moment])
    return _Scene(network, passed, passed[0])


def run(data: bytes) -> object:
    program = _Program(data)
    moment, dks, back = program.pick(len(_MOMENTS_S)), bool(program.pick(2)), bool(program.pick(2))
    scene = _scene(moment, dks)
    first = scene.target
    ends = {first.sender, first.receiver}
    passed = [each for each in scene.passed if {each.sender, each.receiver} == ends]
    frame = next((each for each in passed if back and each.receiver == first.sender), first)
    octets = {each.datagram.data for each in passed}
    made: list[bytes] = []
    while not program.over and len(made) < _MOST:
        made.append(forged([each.datagram.data for each in passed], program.pick))
    made = [each for each in made if each not in octets and claims_to_be_sealed(each)]
    core = scene.network.nodes[frame.receiver].core
    peer = frame.datagram
    changed = stir(core, [type(peer)(each, peer.peer, peer.hop_limit) for each in made], scene.network.now)
    if changed is not None:
        _scene.cache_clear()
    promise(changed is None, f"unsealed datagrams changed something: {changed}")
    return (moment, dks, back, len(made))


def seeds() -> Iterator[bytes]:
    for moment in range(len(_MOMENTS_S)):
        for dks in range(2):
            for back in range(2):
                for way in range(8):
                    yield bytes((moment, dks, back)) + bytes((1, way, 1, 2, 3, 4, 5, way, 0, 7)) * 6


TARGET = Target(run, (), seeds)
