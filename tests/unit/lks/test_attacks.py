"""What an LKS does not take in, and what that costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.lks.retained import COUNTERS
from agents.runtime.storage import CorruptRecord
from testbed.simulation.network import Network
from testbed.simulation.parties import key
from testbed.simulation.wires import Passing

PAIR = {"a--b": ("a", "b")}


def test_a_router_with_another_key_than_the_pinned_one_gets_and_gives_nothing() -> None:
    network = Network(PAIR, keys=lambda name: key("thief") if name == "b" else key(name))
    network.power_on_all()
    network.run(20)
    assert not network.seen("member", "a") and not network.seen("registered")
    assert not network.hears("a", "b") and not network.hears("b", "a")


@pytest.mark.parametrize("hops", [254, 64, None])
def test_ike_from_beyond_the_link_is_dropped_unread(hops: int | None) -> None:
    network = Network(PAIR)
    network.wires.tap = lambda passing: replace(passing, datagram=replace(passing.datagram, hop_limit=hops))
    network.power_on_all()
    network.run(5)
    assert not network.seen("ike", state="established")
    assert network.seen("dropped", reason="hop limit")


def test_ike_from_an_address_that_is_no_neighbour_is_dropped_unread() -> None:
    network = Network(PAIR)

    def forge(passing: Passing) -> Passing:
        peer = replace(passing.datagram.peer, ip="10.0.0.77")
        return replace(passing, datagram=replace(passing.datagram, peer=peer))

    network.wires.tap = forge
    network.power_on_all()
    network.run(5)
    assert not network.seen("ike", state="established")


def test_altered_datagrams_key_nobody_and_harm_no_keyed_pair() -> None:
    network = Network(PAIR)

    def alter(passing: Passing) -> Passing:
        data = bytearray(passing.datagram.data)
        data[-1] ^= 1
        return replace(passing, datagram=replace(passing.datagram, data=bytes(data)))

    network.wires.tap = alter
    network.power_on_all()
    network.run(5)
    assert not network.all_keyed()
    network.wires.tap = None
    assert network.run(20, network.all_keyed)
    network.wires.tap = alter
    network.run(25)
    assert network.all_keyed()


def test_recorded_datagrams_of_another_life_change_nothing() -> None:
    network = Network(PAIR)
    recorded: list[Passing] = []
    network.wires.tap = lambda passing: recorded.append(passing) or passing
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    network.wires.tap = None
    network.power_off("b")
    network.power_on("b")
    assert network.run(2, network.all_keyed)
    kernels = {name: network.nodes[name].kernel for name in ("a", "b")}
    for passing in recorded:
        network.deliver(passing.receiver, passing.datagram)
    network.run(10)
    assert {name: set(network.nodes[name].kernel.sas) for name in kernels} == {  # type: ignore[union-attr]
        name: set(kernel.sas) for name, kernel in kernels.items() if kernel
    }


def test_damaged_counters_stop_the_router_instead_of_repeating_a_generation() -> None:
    network = Network(PAIR)
    network.power_on_all()
    network.run(1)
    network.power_off("a")
    record = network.nodes["a"].files[COUNTERS]
    network.nodes["a"].files[COUNTERS] = record[:-1] + bytes([record[-1] ^ 1])
    with pytest.raises(CorruptRecord):
        network.power_on("a")


def test_no_traffic_key_is_in_retained_files_or_events() -> None:
    network = Network(PAIR)
    network.power_on_all()
    network.run(1)
    for node in network.nodes.values():
        assert node.kernel is not None
        for sa in node.kernel.sas:
            assert not any(sa.keymat in data for data in node.files.values())
            assert sa.keymat.hex() not in repr(network.events)
            assert repr(sa.keymat) not in repr(node.kernel)
