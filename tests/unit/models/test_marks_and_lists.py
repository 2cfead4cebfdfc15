"""Marks by name and key and shortened lists in Spin: what holds within bounds, and what fails without each defence."""

from __future__ import annotations

import pytest

from models.spin import Verifier
from models.table import LISTS, MARKS, WITHOUT, Expected


@pytest.mark.parametrize(
    ("model", "claim"), [*(("marks", claim) for claim in MARKS), *(("lists", claim) for claim in LISTS)]
)
def test_a_property_holds_in_every_run(model: str, claim: str) -> None:
    with Verifier(model) as verifier:
        verdict = verifier.check(claim)
    assert verdict.holds
    assert verdict.states > 1000


@pytest.mark.parametrize("expected", [each for each in WITHOUT if each.model in ("marks", "lists")], ids=str)
def test_without_its_defence_a_property_fails(expected: Expected) -> None:
    with Verifier(expected.model, expected.switches) as verifier:
        assert verifier.check(expected.claim).holds is expected.holds
