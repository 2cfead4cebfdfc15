"""`lab models` and its list of checks."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from models import checks
from models.spin import CannotCheck
from testbed.cli import models as verb
from testbed.errors import EnvironmentFailure


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
