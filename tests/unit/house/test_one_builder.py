"""Domains are built in one place, for the guest, simulations, benchmarks and fuzzers alike."""

from __future__ import annotations

import ast
from pathlib import Path

from testbed.setup.paths import PROJECT

FOLDERS = ("testbed", "experiments", "fuzz", "models")
BUILDER = "testbed/domains/build.py"
STEPS = {"add_interface"}
"""What only somebody calls who builds a domain. Routers come and go in service, and modes and adjacencies change."""


def builders(folder: Path) -> set[str]:
    """Files that build a domain of their own."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in STEPS:
                    found.add(path.relative_to(folder.parent).as_posix())
    return found


def test_domains_are_built_in_one_place() -> None:
    assert set().union(*(builders(PROJECT / each) for each in FOLDERS)) == {BUILDER}


def test_another_builder_is_found(tmp_path: Path) -> None:
    (tmp_path / "testbed").mkdir()
    (tmp_path / "testbed" / "mine.py").write_text("made = edit.add_interface(domain, 'r1', 'e0')\n")
    assert builders(tmp_path / "testbed") == {"testbed/mine.py"}
