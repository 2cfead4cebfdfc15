"""The removal of a router in Spin: what holds within the bounds, and what fails without each defence."""

from __future__ import annotations

import pytest

from models.spin import Verifier
from models.table import BEYOND, REMOVAL, WITHOUT, Expected


@pytest.mark.parametrize("claim", REMOVAL)
def test_a_property_of_removal_holds_in_every_run(claim: str) -> None:
    with Verifier("removal") as verifier:
        verdict = verifier.check(claim)
    assert verdict.holds
    assert verdict.states > 1000


@pytest.mark.parametrize("expected", [each for each in (*WITHOUT, *BEYOND) if each.model == "removal"], ids=str)
def test_without_its_defence_a_property_of_removal_fails(expected: Expected) -> None:
    with Verifier(expected.model, expected.switches) as verifier:
        assert verifier.check(expected.claim).holds is expected.holds
