"""The symbolic model in Maude: what no intruder reaches, and what it reaches when a defence is taken out."""

from __future__ import annotations

import pytest

from models.symbolic import search
from models.table import SYMBOLIC, Secure


@pytest.mark.parametrize(("scenario", "goal"), sorted({(each.scenario, each.goal) for each in SYMBOLIC}))
def test_an_intruder_reaches_no_bad_state(scenario: str, goal: str) -> None:
    found = search(scenario, goal)
    assert not found.bad, found.steps
    assert found.states > 1


@pytest.mark.parametrize("each", SYMBOLIC, ids=str)
def test_without_its_defences_the_bad_state_is_reached(each: Secure) -> None:
    found = search(each.scenario, each.goal, each.without)
    assert found.bad
    assert found.steps


@pytest.mark.parametrize("each", [each for each in SYMBOLIC if len(each.without) > 1], ids=str)
def test_of_several_defences_against_one_attack_each_alone_is_enough(each: Secure) -> None:
    for kept in each.without:
        assert not search(each.scenario, each.goal, set(each.without) - {kept}).bad, kept


def test_honest_parties_come_to_the_end_of_the_protocol() -> None:
    found = search("pair", "reached")
    assert found.steps[-2:] == ("rekey", "takeRekey")
    found = search("dks", "arrived")
    assert found.steps[-4:] == ("issue", "takeIssued", "giveOn", "takeGiven") and "lease" in found.steps


def test_a_defence_that_the_model_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such defence"):
        search("pair", "leaked", ("magic",))
