"""Generations in Spin: what holds within the short bounds, and what fails without each defence."""

from __future__ import annotations

import pytest

from models.spin import CannotCheck, Verifier, verifier
from models.table import BEYOND, EPOCHS, LKS_ALONE, NEWER, SHORT, WITHOUT, Expected


@pytest.mark.parametrize("switches", [SHORT, NEWER], ids="+".join)
@pytest.mark.parametrize("claim", EPOCHS)
def test_a_property_of_generations_holds_in_every_run(switches: tuple[str, ...], claim: str) -> None:
    verdict = verifier("epochs", switches).check(claim)
    assert verdict.holds
    assert verdict.states > 1000  # the search went somewhere


@pytest.mark.parametrize("claim", LKS_ALONE)
def test_a_property_of_generations_holds_where_no_dks_makes_any(claim: str) -> None:
    verdict = verifier("epochs", ("LKS_ONLY", *SHORT)).check(claim)
    assert verdict.holds and verdict.states > 1000


@pytest.mark.parametrize("expected", [each for each in (*WITHOUT, *BEYOND) if each.model == "epochs"], ids=str)
def test_without_its_defence_a_property_of_generations_fails(expected: Expected) -> None:
    assert verifier(expected.model, expected.switches).check(expected.claim).holds is expected.holds


def test_a_counterexample_comes_with_its_steps() -> None:
    verdict = verifier("epochs", ("NO_PARITY", "FAULTS=1")).check("one_key_made", trace=True)
    assert "two_made" in verdict.trace


def test_a_check_that_cannot_be_done_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CannotCheck, match="spin is not installed"):
        Verifier("epochs")
