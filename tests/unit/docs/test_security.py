"""What docs/security.md names as holding a property exists."""

from __future__ import annotations

import re

from testbed.setup.paths import PROJECT
from tests.unit.soak.test_soak import CAUGHT, SCENES

PAGE = (PROJECT / "docs" / "security.md").read_text()
SOAK = (PROJECT / "docs" / "fuzzing-and-soak.md").read_text()


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


def test_every_number_of_the_table_has_a_bound_a_module_and_a_test() -> None:
    part = PAGE.split("## Numbers that somebody else chooses")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines() if "`test_" in line]
    numbers = " ".join(row[0] for row in rows)
    for word in (
        "generation", "policy version", "lifetime", "activation and deactivation delay", "SPI", "Child SAs and rekeys",
        "octets and fragments", "octets of a document", "replay floor", "wait hint", "Message ID", "groups of a router",
    ):  # fmt: skip
        assert word in numbers, word
    for row in rows:
        assert len(row) == 5 and all(row), row
        module = re.fullmatch(r"`([\w/]+\.py)`", row[3])
        assert module and (PROJECT / module[1]).is_file(), row
        assert set(re.findall(r"`(test_\w+)`", row[4])) <= defined() and "`test_" in row[4], row


def test_the_table_of_deliberate_defects_is_what_the_tests_try() -> None:
    part = SOAK.split("| defect | shown as |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", part, re.M))
    rows.pop("---", None)
    tried = {name: invariant for name, (_, invariant) in CAUGHT.items()}
    tried |= {name: invariant for name, (_, _, invariant) in SCENES.items()}
    assert rows == tried
