"""Numbers that a neighbour, the DKS or an insider chooses are bounded where they enter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.gikev2 import GroupKeys, UnusableGroup
from agents.gikev2.keys import LEAST_LIFE_S, bounded, check_speaker, make_group_keys
from agents.lks.generations import Hearing
from agents.lks.reconnect import LONGEST_HINT_S, Schedule
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.group import GroupState, SignedState
from agents.policy.names import GroupId
from testbed.simulation.network import Network

GREATEST = 0xFFFFFFFF
LIVES = Lifetimes(group_s=600, atd_s=2, dtd_s=5)


def state(group: GroupId, generation: int) -> SignedState:
    return SignedState(GroupState.of(group, 1, generation, "lks"), b"")


def keys(**changed: object) -> tuple[Network, GroupKeys]:
    network = Network({"lan": ("a", "b", "c")})
    document = network.documents["b"]
    made = make_group_keys(document, network.octets, state(document.own_groups()[0], 5))
    given = made.for_member("a")
    return network, replace(given, sas=tuple(replace(sa, **changed) for sa in given.sas))  # type: ignore[arg-type]


@pytest.mark.parametrize("life_s", [None, 0, 1, GREATEST])
@pytest.mark.parametrize("delay_s", [0, 1, 65535])
def test_a_key_is_heard_as_long_as_policy_says_at_most_and_some_seconds_at_least(
    life_s: int | None, delay_s: int
) -> None:
    _network, given = keys(lifetime_s=life_s)
    given = bounded(replace(given, atd_s=delay_s, dtd_s=delay_s), LIVES)
    hearing = Hearing(given.group, "a-e0")
    hearing.follow(given, 0.0)
    ends = {sa.until for sa in hearing.sas()}
    assert ends and LEAST_LIFE_S <= min(ends) <= max(ends) <= LIVES.group_s + LIVES.dtd_s
    hearing.follow(replace(given, generation=7), 1.0)
    assert max(sa.until for sa in hearing.sas()) <= 1 + LIVES.group_s + LIVES.dtd_s


@pytest.mark.parametrize("spi", [0, 1, 255, 256, GREATEST])
def test_an_spi_that_is_not_of_the_speaker_s_block_is_refused(spi: int) -> None:
    network, given = keys(spi=spi)
    interface = network.documents["a"].interfaces[0]
    neighbor = interface.neighbor("b")
    assert neighbor is not None
    with pytest.raises(UnusableGroup, match="SPI"):
        check_speaker(replace(given, sas=given.sas[:1]), interface, neighbor, network.documents["a"])


def test_a_speaker_has_one_sa_to_a_destination() -> None:
    network, given = keys()
    document = network.documents["a"]
    interface = document.interfaces[0]
    neighbor = interface.neighbor("b")
    assert neighbor is not None
    check_speaker(given, interface, neighbor, document)
    many = tuple(replace(given.sas[0], spi=given.sas[0].spi + number) for number in range(200))
    with pytest.raises(UnusableGroup, match="200 SAs"):
        check_speaker(replace(given, sas=many), interface, neighbor, document)


@pytest.mark.parametrize(("hint_s", "most_s"), [(0, 0.0), (1, 1.25), (3599, 3599 * 1.25), (GREATEST, 3600 * 1.25)])
def test_the_dks_keeps_a_router_away_for_an_hour_at_most(hint_s: int, most_s: float) -> None:
    schedule = Schedule(Reconnect(jitter=0.25), lambda _low, high: high, eager=False)
    assert schedule.hinted(hint_s) == most_s
    assert LONGEST_HINT_S == 3600


def test_a_generation_whose_spi_a_neighbour_gave_to_another_does_not_come_back() -> None:
    """A kernel holds one SA of an SPI. The older one's packets would be heard again from the first on."""
    network, first = keys()
    document = network.documents["b"]
    later = [make_group_keys(document, network.octets, state(first.group, g)).for_member("a") for g in (7, 9)]
    lie = replace(
        later[0], sas=tuple(replace(new, spi=old.spi) for new, old in zip(later[0].sas, first.sas, strict=True))
    )
    hearing = Hearing(first.group, "a-e0")
    for now, each in enumerate((first, lie, later[1])):
        hearing.follow(each, float(now))
    assert {sa.generation for sa in hearing.sas()} == {7, 9}
