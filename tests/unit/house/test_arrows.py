"""Arrows point one way: experiments → testbed → agents; figures and numbers know nothing of who plays runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.setup.paths import PROJECT
from tests.unit.house.test_circles import imports, modules

KNOWN = {
    name: path for folder in ("agents", "testbed", "experiments") for name, path in modules(PROJECT / folder).items()
}
FORBIDDEN = [
    ("agents", ("testbed", "experiments")),
    ("testbed", ("experiments",)),
    ("testbed.analysis", ("testbed.runner", "testbed.cli", "testbed.report")),
    ("testbed.record", ("testbed.runner", "testbed.cli", "testbed.report", "testbed.analysis")),
    ("testbed.simulation", ("testbed.soak", "testbed.storm", "testbed.net", "testbed.inside")),
    ("experiments", ("experiments",)),
]


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize(("package", "others"), FORBIDDEN, ids=[f"{here} does not import" for here, _ in FORBIDDEN])
def test_no_arrow_points_back(package: str, others: tuple[str, ...]) -> None:
    found = {
        name: sorted(
            each for each in imports(path, KNOWN, typing=False) if any(within(each, other) for other in others)
        )
        for name, path in KNOWN.items()
        if within(name, package)
    }
    assert found and {name: back for name, back in found.items() if back} == {}


def test_an_arrow_that_points_back_is_found(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text("def late():\n    from testbed.runner import session\n    return session\n")
    assert imports(file, KNOWN, typing=False) == {"testbed.runner.session"}
