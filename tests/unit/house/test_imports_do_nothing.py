"""Importing a module does nothing to the machine: programs begin behind `if __name__ == "__main__"`.

testbed/guest/process1.py mounts over half of a machine where it runs: in a guest that is right, at an import it is not.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from testbed.setup.paths import PROJECT

FOLDERS = ("agents", "testbed", "experiments", "fuzz", "models")
MODULES = sorted(path for folder in FOLDERS for path in (PROJECT / folder).rglob("*.py") if path.name != "__main__.py")


def begun_at_import(path: Path) -> list[str]:
    """Calls of a function of its own, without arguments, that stand alone at the top of a module."""
    alone = (each.value for each in ast.parse(path.read_text()).body if isinstance(each, ast.Expr))
    calls = (each for each in alone if isinstance(each, ast.Call) and not each.args and not each.keywords)
    return [ast.unparse(each) for each in calls if isinstance(each.func, ast.Name)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_module_begins_its_work_when_it_is_imported(folder: str) -> None:
    found = {str(path.relative_to(PROJECT)): begun_at_import(path) for path in MODULES if folder in path.parts}
    assert found and {name: calls for name, calls in found.items() if calls} == {}
