"""Domains are built in one place, for the guest, simulations, benchmarks and fuzzers alike."""

from __future__ import annotations

import ast
from pathlib import Path

from testbed.setup.paths import PROJECT

FOLDERS = ("testbed", "experiments", "fuzz", "models")
BUILDER = "testbed/domains/build.py"


def builders(folder: Path) -> set[str]:
    """Files that begin a domain of their own. In service, domains are changed in many places."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Domain":
                begun = {"name", "dks"} <= {each.arg for each in node.keywords}
                found |= {path.relative_to(folder.parent).as_posix()} if begun else set()
    return found


def test_domains_are_built_in_one_place() -> None:
    assert set().union(*(builders(PROJECT / each) for each in FOLDERS)) == {BUILDER}


def test_another_builder_is_found(tmp_path: Path) -> None:
    (tmp_path / "testbed").mkdir()
    (tmp_path / "testbed" / "mine.py").write_text("made = domain.Domain(name='mine', dks=entry)\n")
    assert builders(tmp_path / "testbed") == {"testbed/mine.py"}
