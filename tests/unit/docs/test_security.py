"""What docs/security.md names as holding a property exists."""

from __future__ import annotations

import re

from testbed.setup.paths import PROJECT

PAGE = (PROJECT / "docs" / "security.md").read_text()


def defined() -> set[str]:
    found = set()
    for path in (PROJECT / "tests").rglob("test_*.py"):
        found |= set(re.findall(r"^ *def (test_\w+)", path.read_text(), re.M))
    return found


def named() -> set[str]:
    return set(re.findall(r"`(test_\w+)`", PAGE))


def test_every_test_that_the_page_names_exists() -> None:
    assert len(named()) > 60
    assert named() - defined() == set()


def test_every_claim_of_a_model_that_the_page_names_exists() -> None:
    table = (PROJECT / "docs" / "models.md").read_text()
    lines = [line for line in PAGE.splitlines() if "*model* " in line]
    claims = {
        claim
        for line in lines
        for part in re.findall(r"\*model\* ((?:`\w+`(?:, )?)+)", line)
        for claim in re.findall(r"`(\w+)`", part)
    }
    assert len(claims) > 8
    assert {each for each in claims if f"`{each}`" not in table} == set()


def test_every_experiment_that_the_page_names_exists() -> None:
    names = {
        name for part in re.findall(r"experiments? ((?:`\w+`(?:, )?)+)", PAGE) for name in re.findall(r"`(\w+)`", part)
    }
    assert names
    assert {each for each in names if not (PROJECT / "experiments" / f"{each}.py").exists()} == set()
