"""Members whose IKE SA with the DKS is gone: told under their Rekey SA, or told that they are none any more."""

from __future__ import annotations

from dataclasses import replace

from agents.dks.rekey_sas import COPIES_S
from agents.ikev2.codec.header import parse_header
from agents.ikev2.registry import ExchangeType
from agents.policy import edit
from agents.policy.document import Lifetimes
from agents.policy.domain import Settings
from testbed.simulation.network import Network, ring
from testbed.simulation.wires import Passing

LIFETIME_S = 100
SETTINGS = Settings(validity_s=1 << 33, issuer="dks", local_key_server=False, lifetimes=Lifetimes(group_s=LIFETIME_S))


def is_rekey(passing: Passing) -> bool:
    return parse_header(passing.datagram.data).exchange == ExchangeType.GSA_REKEY


class Mute(Network):
    """A domain in which the DKS hears nothing of r1 any more, as soon as `mute` is set, while r1 hears the DKS."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__(ring(4), settings=SETTINGS, dks=True, seed=seed)
        self.mute = False
        self.rekeys: list[Passing] = []
        self.wires.tap = self._on_its_way

    def _on_its_way(self, passing: Passing) -> Passing | None:
        if self.mute and passing.sender == "r1" and passing.receiver == "dks":
            return None
        if is_rekey(passing):
            self.rekeys.append(passing)
            return self.rekey(passing)
        return passing

    def rekey(self, passing: Passing) -> Passing | None:
        """What becomes of a rekey message."""
        return passing

    def apart(self) -> bool:
        """Whether the DKS has lost its IKE SA with r1, and r1 its own."""
        link = self.lks("r1")._dks
        groups = self.command("dks", "status")["groups"].values()
        lost = all("r1" not in each["members"] for each in groups) and any("r1" in each["apart"] for each in groups)
        return lost and link is not None and (link.sa is None or not link.sa.established)


def muted(network: Mute) -> Mute:
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    network.mute = True
    for second in range(1, 3 * LIFETIME_S):
        network.run(second)
        if network.apart():
            return network
    raise AssertionError("the DKS has not noticed")


def bad_messages(network: Network) -> list[str]:
    """What r1 said of rekey messages that it dropped."""
    reasons = [str(each.fields["reason"]) for each in network.seen("dropped", "r1")]
    return [each for each in reasons if each.startswith("GSA_REKEY")]


def test_a_member_without_an_ike_sa_hears_and_is_heard_through_generations() -> None:
    network = muted(Mute())
    begin = int(network.now)
    for second in range(begin, begin + 3 * LIFETIME_S):
        network.run(second)
        assert network.all_keyed(), second
    told = network.seen("rekey_message", "r1")
    assert len({(each.fields["group"], each.fields["generation"]) for each in told}) == len(told) >= 6
    assert not network.seen("rekey_message", "r2")  # who has an IKE SA is told over that
    assert not bad_messages(network)


def test_one_copy_of_three_is_enough_and_one_that_was_touched_does_not_count() -> None:
    class Touched(Mute):
        def rekey(self, passing: Passing) -> Passing | None:
            number = sum(each.datagram.data == passing.datagram.data for each in self.rekeys)
            if number == 1:
                return None
            if number == 2:
                data = passing.datagram.data[:-1] + bytes((passing.datagram.data[-1] ^ 1,))
                return replace(passing, datagram=replace(passing.datagram, data=data))
            return passing

    network = muted(Touched())
    begin = int(network.now)
    for second in range(begin, begin + LIFETIME_S):
        network.run(second)
        assert network.all_keyed(), second
    assert bad_messages(network)
    assert len(COPIES_S) == 3


def test_without_rekey_messages_such_a_member_goes_deaf() -> None:
    class Silent(Mute):
        def rekey(self, passing: Passing) -> Passing | None:
            return None

    network = muted(Silent())
    network.run(network.now + 2 * LIFETIME_S)
    assert not network.hears("r1", "r2") and not network.seen("rekey_message", "r1")


def test_an_old_message_that_comes_again_changes_nothing() -> None:
    network = muted(Mute())
    network.run(network.now + 2 * LIFETIME_S)
    old = network.rekeys[0]
    before = {(sa.spi, sa.keymat) for sa in network.nodes["r1"].kernel.sas}  # type: ignore[union-attr]
    taken = len(network.seen("rekey_message", "r1"))
    network.deliver("r1", old.datagram)
    assert {(sa.spi, sa.keymat) for sa in network.nodes["r1"].kernel.sas} == before  # type: ignore[union-attr]
    assert len(network.seen("rekey_message", "r1")) == taken
    assert bad_messages(network)


def test_an_excluded_member_without_an_ike_sa_gives_its_keys_up_at_once() -> None:
    network = muted(Mute())
    assert network.hears("r1", "r2") and network.hears("r2", "r1")
    ends = next(each for each in network.domain.adjacencies if {each.a.router, each.b.router} == {"r1", "r2"})
    network.publish(edit.deny(network.domain, ends.a.router_interface, ends.b.router_interface))
    network.run(network.now + 5)
    assert network.seen("excluded", "dks", peer="r1") and network.seen("excluded", "r1")
    kernel = network.nodes["r1"].kernel
    address = next(each.address for each in network.documents["r2"].interfaces if not each.neighbors)
    assert kernel is not None and not [sa for sa in kernel.sas if sa.speaker == address and not sa.outbound]
    assert network.hears("r1", "r4")  # the other neighbour is none of this


def test_a_member_that_comes_back_is_told_over_its_ike_sa_again() -> None:
    network = muted(Mute())
    network.run(network.now + LIFETIME_S)
    network.mute = False
    network.run(network.now + 30)
    assert not network.apart() and network.all_keyed()
    count = len(network.rekeys)
    for second in range(int(network.now), int(network.now) + LIFETIME_S):
        network.run(second)
        assert network.all_keyed(), second
    assert len(network.rekeys) == count


def test_a_member_registers_again_before_its_rekey_sa_is_over() -> None:
    short = SETTINGS.model_copy(update={"lifetimes": Lifetimes(group_s=1000, ike_s=200)})
    network = Network(ring(3), settings=short, dks=True)
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    first = len(network.seen("registered", "r1"))
    network.run(190)
    assert len(network.seen("registered", "r1")) >= 2 * first
    assert network.all_keyed() and not network.seen("rekeyed", "dks")
