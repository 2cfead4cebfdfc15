"""Generations in Spin: what holds within the short bounds, and what fails without each defence."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from models.spin import CannotCheck, Verifier
from models.table import BEYOND, EPOCHS, SHORT, WITHOUT, Expected


@pytest.fixture(scope="module")
def whole() -> Iterator[Verifier]:
    with Verifier("epochs", SHORT) as verifier:
        yield verifier


@pytest.mark.parametrize("claim", EPOCHS)
def test_a_property_of_generations_holds_in_every_run(whole: Verifier, claim: str) -> None:
    verdict = whole.check(claim)
    assert verdict.holds
    assert verdict.states > 1000  # the search went somewhere


@pytest.mark.parametrize("expected", [each for each in (*WITHOUT, *BEYOND) if each.model == "epochs"], ids=str)
def test_without_its_defence_a_property_of_generations_fails(expected: Expected) -> None:
    with Verifier(expected.model, expected.switches) as verifier:
        assert verifier.check(expected.claim).holds is expected.holds


def test_a_counterexample_comes_with_its_steps() -> None:
    with Verifier("epochs", ("NO_PARITY", "FAULTS=1")) as verifier:
        verdict = verifier.check("one_key_made", trace=True)
    assert "two_made" in verdict.trace


def test_a_check_that_cannot_be_done_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CannotCheck, match="spin is not installed"):
        Verifier("epochs")
