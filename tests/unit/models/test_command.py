"""`lab models` and its list of checks."""

from __future__ import annotations

import re

import pytest
import typer
from typer.testing import CliRunner

from models import checks
from models.spin import MODELS, CannotCheck
from models.symbolic import DEFENCES
from models.table import BEYOND, SYMBOLIC, WITHOUT
from testbed.cli import models as verb
from testbed.errors import EnvironmentFailure
from testbed.setup.paths import PROJECT


def run(monkeypatch: pytest.MonkeyPatch, *found: checks.Check) -> object:
    app = typer.Typer()
    app.callback()(lambda: None)
    verb.register(app)
    monkeypatch.setattr(checks, "all_checks", lambda full: iter(found))
    monkeypatch.setattr("testbed.setup.all.make_for_models", lambda: None)
    return CliRunner().invoke(app, ["models"])


def test_the_exit_code_is_1_when_a_property_is_not_as_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    good = checks.Check("good", True, lambda: (True, 5))
    assert run(monkeypatch, good).exit_code == 0  # type: ignore[attr-defined]
    result = run(monkeypatch, good, checks.Check("bad", True, lambda: (False, 5)))
    assert result.exit_code == 1  # type: ignore[attr-defined]
    assert "WRONG bad: fails" in result.output  # type: ignore[attr-defined]


def test_a_check_that_cannot_be_done_is_the_environments_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot() -> tuple[bool, int]:
        raise CannotCheck("out of memory")

    result = run(monkeypatch, checks.Check("large", True, cannot))
    assert isinstance(result.exception, EnvironmentFailure)  # type: ignore[attr-defined]


def test_the_full_form_has_all_checks_of_the_short_one_and_more() -> None:
    short = {check.name for check in checks.all_checks(full=False)}
    full = {check.name for check in checks.all_checks(full=True)}
    assert short < full


@pytest.mark.parametrize("model", ["epochs", "removal", "marks", "lists"])
def test_every_defence_and_fault_of_a_model_has_a_row_of_the_table(model: str) -> None:
    text = (MODELS / f"{model}.pml").read_text()
    switches = set(re.findall(r"#ifn?def (\w+)", text)) - {"FAULTS", "NR", "POLICIES", "REKEYS"}
    tried = {switch for each in (*WITHOUT, *BEYOND) if each.model == model for switch in each.switches}
    assert switches == {each for each in tried if "=" not in each}


def test_every_defence_against_the_intruder_is_taken_out_once() -> None:
    assert {name for each in SYMBOLIC for name in each.without} == {
        name for names in DEFENCES.values() for name in names
    }


def test_every_defence_that_the_page_names_is_one_of_a_model() -> None:
    page = (PROJECT / "docs" / "models.md").read_text()
    tried = {switch for each in (*WITHOUT, *BEYOND) for switch in each.switches}
    assert set(re.findall(r"NO_[A-Z_]+", page)) <= tried
