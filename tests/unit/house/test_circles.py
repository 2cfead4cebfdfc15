"""No module imports, over whatever others, itself.

Held for imports of run time, those inside of functions included. Modules that name each other in annotations alone
(TYPE_CHECKING) are parts of one thing and stand in TYPED_TOGETHER; there are no others.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.setup.paths import PROJECT

TYPED_TOGETHER = [[f"agents.ikev2.{each}" for each in ("events", "exchange", "handle", "party", "sa")]]


def modules(folder: Path) -> dict[str, Path]:
    """By name, all of this package."""
    found = {".".join(path.relative_to(folder.parent).with_suffix("").parts): path for path in folder.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


def imports(path: Path, known: dict[str, Path], *, typing: bool) -> set[str]:
    """Which of the known modules this one imports. `typing`: also for annotations alone."""

    def statements(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if typing or not (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")):
                yield child
                yield from statements(child)

    found = set()
    for each in statements(ast.parse(path.read_text())):
        if isinstance(each, ast.Import):
            found |= {item.name for item in each.names}
        elif isinstance(each, ast.ImportFrom) and each.module is not None:
            inside = {f"{each.module}.{item.name}" for item in each.names}
            found |= (inside & known.keys()) or {each.module}
    return found & known.keys()


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module."""

    def reached(start: str) -> set[str]:
        found, waiting = set(), [start]
        while waiting:
            for each in graph[waiting.pop()] - found:
                found.add(each)
                waiting.append(each)
        return found

    reach = {name: reached(name) for name in graph}
    together = {frozenset({name} | {each for each in reach[name] if name in reach[each]}) for name in graph}
    return sorted(sorted(each) for each in together if len(each) > 1)


def circles_of(folder: Path, *, typing: bool = False) -> list[list[str]]:
    known = modules(folder)
    return circles({name: imports(path, known, typing=typing) - {name} for name, path in known.items()})


@pytest.mark.parametrize("package", ["agents", "experiments"])
def test_no_module_imports_itself_over_others(package: str) -> None:
    assert circles_of(PROJECT / package) == []


def test_modules_of_the_agents_that_are_typed_together_are_these_and_no_others() -> None:
    assert circles_of(PROJECT / "agents", typing=True) == TYPED_TOGETHER


def test_a_circle_is_found_also_inside_of_a_function_and_not_for_types_alone(tmp_path: Path) -> None:
    package = tmp_path / "some"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from some.b import x\n")
    (package / "b.py").write_text("def f():\n    import some.c\n")
    (package / "c.py").write_text("if TYPE_CHECKING:\n    from some import a\n")
    assert circles_of(package) == []
    assert circles_of(package, typing=True) == [["some.a", "some.b", "some.c"]]
    (package / "c.py").write_text("from some import a\n")
    assert circles_of(package) == [["some.a", "some.b", "some.c"]]
