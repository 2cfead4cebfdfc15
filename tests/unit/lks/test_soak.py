"""Thousands of rekeys over links that lose, double and reorder: no packet may find its receiver without the key."""

from __future__ import annotations

from typing import Any

import pytest

from agents.gikev2 import GroupKeys
from agents.ipsec.protection import IPAddress, RoutingProtocol
from agents.lks.generations import MOST_GENERATIONS, Hearing
from agents.policy.document import Lifetimes
from agents.policy.domain import Settings
from agents.policy.group import GroupState, SignedState
from agents.policy.names import GroupId
from agents.runtime.effects import Effect, Kernel
from testbed.simulation.network import Network
from testbed.simulation.simulation import Node

IN_FLIGHT_S = 0.5
"""A packet that was sent so long ago may still arrive."""


class Watched(Network):
    """Notes at every change of a kernel who could not hear what is sent now, or is on its way."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.observers.append(self)
        self.watching = False
        self.deaf: list[tuple[float, str, str, int]] = []
        self._sent: dict[tuple[str, int, IPAddress, bytes], tuple[float, int]] = {}
        self._heard: dict[str, set[tuple[int, IPAddress, bytes]]] = {}

    def saw(self, node: Node, effect: Effect) -> None:
        if not isinstance(effect, Kernel):
            return
        self._heard[node.name] = {(sa.spi, sa.destination, sa.keymat) for sa in effect.sas if not sa.outbound}
        for sa in effect.sas:
            if sa.outbound and sa.active and sa.destination.is_multicast:
                self._sent[node.name, sa.spi, sa.destination, sa.keymat] = (float("inf"), sa.generation)
        active = {(sa.spi, sa.destination, sa.keymat) for sa in effect.sas if sa.outbound and sa.active}
        for place, (until, generation) in list(self._sent.items()):
            if place[0] == node.name and place[1:] not in active and until == float("inf"):
                self._sent[place] = (self.now + IN_FLIGHT_S, generation)
            elif until < self.now:
                del self._sent[place]
        if self.watching:
            self._look()

    def _look(self) -> None:
        for sender, *sa in self._sent:
            for receiver in self.routers:
                if receiver != sender and tuple(sa) not in self._heard[receiver]:
                    self.deaf.append((self.now, sender, receiver, self._sent[sender, *sa][1]))  # type: ignore[index]


def network(*names: str, seed: int = 1, protocols: int = 1, **lifetimes: int) -> Watched:
    """A network whose routers have keyed each other."""
    settings = Settings(validity_s=1 << 33, lifetimes=Lifetimes(**lifetimes))
    spoken = (RoutingProtocol.OSPF, RoutingProtocol.PIM)[:protocols]
    found = Watched({"lan": names}, settings=settings, protocols=spoken, seed=seed)
    found.power_on_all()
    assert found.run(5, lambda: found.all_keyed() and all(found.lks(name)._all_keyed() for name in names))
    found.watching = True
    return found


def worsen(lan: Network, *, loss: float = 0.05, duplicate: float = 0.05, overtake: float = 0.05) -> None:
    lan.wires.loss, lan.wires.duplicate, lan.wires.overtake = loss, duplicate, overtake


@pytest.mark.parametrize("seed", range(5))
def test_ten_thousand_rekeys_in_five_networks_leave_no_packet_without_its_key(seed: int) -> None:
    lan = network("a", "b", seed=seed, group_s=20)
    worsen(lan)
    while len(lan.seen("rekeyed")) < 2_000:
        lan.run(lan.now + 500)
    assert lan.deaf == []


@pytest.mark.parametrize("seed", range(4))
def test_a_lan_with_heavy_losses_rekeys_without_a_gap(seed: int) -> None:
    lan = network("a", "b", "c", "d", seed=seed, protocols=2, group_s=60)
    worsen(lan, loss=0.2)
    lan.run(1500)
    assert len(lan.seen("rekeyed")) > 200
    assert lan.deaf == []


@pytest.mark.parametrize("lost", [{"a"}, {"b"}, {"a", "b"}])
def test_a_rekey_lost_for_longer_than_the_activation_delay_leaves_nobody_deaf(lost: set[str]) -> None:
    lan = network("a", "b", group_s=60)
    lan.wires.tap = lambda passing: None if passing.sender in lost else passing
    lan.command("a", "rekey")
    lan.run(lan.now + 6)  # three times the activation delay of the policy
    lan.wires.tap = None
    lan.run(lan.now + 3)
    assert lan.deaf == []
    assert {sa.generation for sa in lan.nodes["a"].kernel.sas if sa.outbound and sa.active} == {3}  # type: ignore[union-attr]


def test_a_silent_member_holds_a_rekey_up_only_until_its_ike_sa_is_given_up() -> None:
    lan = network("a", "b", "c", group_s=600)
    lan.watching = False
    lan.power_off("c")
    lan.command("a", "rekey")
    assert lan.run(
        lan.now + 15, lambda: all(each.sending.waiting is None for each in lan.lks("a").link["a-e0"].speakers.values())
    )


def test_rekeys_ordered_in_a_row_do_not_change_over_before_the_receivers_have_the_newest() -> None:
    lan = network("a", "b", group_s=600)
    lan.wires.tap = lambda passing: None if passing.sender == "a" else passing
    for _time in range(4):
        lan.command("a", "rekey")
        lan.run(lan.now + 1)
    lan.wires.tap = None
    lan.run(lan.now + 5)
    assert lan.deaf == []
    assert lan.all_keyed()


@pytest.mark.parametrize("seed", range(6))
def test_a_rekey_that_waits_behind_the_rekey_of_its_ike_sa_is_understood(seed: int) -> None:
    lan = network("a", "b", seed=seed, protocols=2, group_s=30, ike_s=12)
    worsen(lan)
    lan.run(1200)
    assert lan.seen("error", what="rekey") == []
    assert lan.deaf == []


def test_a_neighbour_that_rekeys_without_end_fills_nobodys_kernel() -> None:
    lan = network("a", "b", group_s=600)
    for _time in range(100):  # more than SPIs tell apart
        lan.command("a", "rekey")
        lan.run(lan.now + 0.1)
    for name, outbound in (("b", False), ("a", True)):
        kernel = lan.nodes[name].kernel
        assert kernel is not None
        assert sum(sa.outbound is outbound for sa in kernel.sas) <= MOST_GENERATIONS + outbound
    assert lan.all_keyed()


def test_every_older_generation_is_heard_while_the_newest_waits_for_its_turn() -> None:
    group = GroupId("example", "a", "e0", "ospf")
    hearing = Hearing(group, "e0")

    def heard() -> list[int]:
        hearing.tick(now)
        return sorted(each.keys.generation for each in hearing._retiring)

    for now, generation in ((0.0, 1), (10.0, 2), (15.0, 3)):
        hearing.follow(
            GroupKeys(group, generation, (), 10, 5, SignedState(GroupState.of(group, 1, generation, "lks"), b"")), now
        )
    now = 29.0
    assert heard() == [1, 2]  # the speaker may never have sent with 2, and goes on with 1 until 25
    now = 30.0
    assert heard() == []
