"""An allowed neighbour, or the DKS, that sends well-sealed nonsense: refused, recorded, and no harm to others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from agents.gikev2 import GroupKeys
from agents.ikev2 import IkeEndpoint, Payload, RawPayload, Request
from agents.lks import speaker
from agents.lks.context import LIVENESS
from agents.policy.document import Lifetimes
from agents.policy.domain import Settings
from testbed.simulation.network import Network
from testbed.simulation.wires import Passing

LAN = {"lan": ("a", "b", "c")}


def spoiled(payloads: Sequence[Payload], chance: random.Random) -> list[Payload]:
    """The same payloads with some octets changed, cut off or added, and some payloads lost, doubled or moved."""
    found: list[Payload] = []
    for item in payloads:
        body = bytearray(item.octets if isinstance(item, RawPayload) else item.body())
        for _time in range(chance.choice((0, 0, 1, 1, 4))):
            if body:
                body[chance.randrange(len(body))] = chance.randrange(256)
        match chance.randrange(8):
            case 0:
                del body[chance.randrange(len(body) + 1) :]
            case 1:
                body += chance.randbytes(chance.randrange(1, 9))
            case 2:
                continue
            case 3:
                found.append(RawPayload(int(item.payload_type), bytes(body)))
        found.append(RawPayload(int(item.payload_type), bytes(body)))
    if chance.randrange(4) == 0:
        chance.shuffle(found)
    return found


def spoil(monkeypatch: pytest.MonkeyPatch, liar: str, chance: random.Random) -> None:
    """Have this party spoil what it sends inside its IKE SAs."""
    for name in ("request", "respond", "connect"):
        honest = getattr(IkeEndpoint, name)
        place = 2 if name == "connect" else 1 if name == "respond" else 2

        def lie(self: IkeEndpoint, *words: object, honest=honest, place=place, **more: object) -> object:  # type: ignore[no-untyped-def]
            if self._party.identity.id.data.decode().endswith(f"/{liar}") and chance.randrange(3):
                given = words[place]
                if isinstance(given, Request):
                    genuine = given.payloads
                    given.payloads = lambda: spoiled(genuine() or (), chance)  # type: ignore[method-assign]
                else:
                    words = (*words[:place], spoiled(given, chance), *words[place + 1 :])  # type: ignore[arg-type]
            return honest(self, *words, **more)

        monkeypatch.setattr(IkeEndpoint, name, lie)


@pytest.mark.parametrize("seed", range(40))
def test_a_neighbour_that_spoils_its_payloads_disturbs_nobody_else(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    spoil(monkeypatch, "c", random.Random(seed))
    network = Network(LAN, seed=seed)
    network.power_on_all()
    assert network.run(5, lambda: network.hears("a", "b") and network.hears("b", "a"))
    network.run(8)
    for name in ("c", "a"):
        network.command(name, "rekey")
        network.run(network.now + 4)
    assert network.hears("a", "b") and network.hears("b", "a")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("liar", ["dks", "c"])
def test_parties_survive_spoiled_payloads_under_central_keys(
    monkeypatch: pytest.MonkeyPatch, seed: int, liar: str
) -> None:
    spoil(monkeypatch, liar, random.Random(seed))
    settings = Settings(validity_s=1 << 33, issuer="dks", local_key_server=False)
    network = Network(LAN, settings=settings, dks=True, seed=seed)
    network.power_on_all()
    network.run(10)
    if liar != "dks":
        assert network.hears("a", "b") and network.hears("b", "a")
    assert all(node.core is not None for node in network.nodes.values())


@pytest.mark.parametrize("seed", range(10))
def test_octets_changed_on_the_wire_are_forgotten_soon_after_that_ends(seed: int) -> None:
    network = Network(LAN, seed=seed)
    chance = random.Random(seed)

    def change(passing: Passing) -> Passing:
        data = bytearray(passing.datagram.data)
        if chance.randrange(3) == 0:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        if chance.randrange(10) == 0:
            del data[chance.randrange(len(data)) :]
        return replace(passing, datagram=replace(passing.datagram, data=bytes(data)))

    network.wires.tap = change
    network.power_on_all()
    network.run(10)
    network.wires.tap = None
    # An IKE SA that one side alone has is found out by its liveness check at the latest.
    assert network.run(10 + LIVENESS.neighbor_s + 5, network.all_keyed)


def test_forged_handshakes_in_a_neighbours_name_do_not_keep_it_out() -> None:
    recorded: list[Passing] = []
    for seed in range(30):  # first messages of other lives of b, as one on the link may make them up
        other = Network({"lan": ("a", "b")}, seed=seed + 100)
        other.wires.tap = lambda passing: recorded.append(passing) if passing.sender == "b" else passing  # type: ignore[func-returns-value]
        other.power_on("b")
        other.run(0.1)
    assert len(recorded) >= 30
    network = Network({"lan": ("a", "b")})
    network.power_on("a")
    for passing in recorded:
        network.deliver("a", passing.datagram)
    network.power_on("b")
    assert network.run(1, network.all_keyed)


@pytest.mark.parametrize("life_s", [None, 0xFFFFFFFF])
def test_a_neighbour_cannot_be_heard_for_longer_than_a_key_lives_whatever_it_says(
    monkeypatch: pytest.MonkeyPatch, life_s: int | None
) -> None:
    honest = speaker.make_group_keys

    def endless(*words: Any, **more: Any) -> GroupKeys:
        keys = honest(*words, **more)
        return replace(keys, sas=tuple(replace(sa, lifetime_s=life_s) for sa in keys.sas))

    monkeypatch.setattr(speaker, "make_group_keys", endless)
    settings = Settings(validity_s=1 << 33, lifetimes=Lifetimes(group_s=60))
    network = Network({"a--b": ("a", "b")}, settings=settings)
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    network.power_off("b")
    network.run(network.now + 66)
    assert not any(not sa.outbound for sa in network.nodes["a"].kernel.sas)  # type: ignore[union-attr]
