"""Every bad topology in tests/errors/topology is refused with exactly the words beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import InputError
from testbed.topology.load import load

FOLDER = Path(__file__).resolve().parents[2] / "errors" / "topology"
CASES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_bad_topology_gets_its_line_its_value_and_what_is_allowed(
    case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER)
    with pytest.raises(InputError) as raised:
        load(case.name)
    assert "\n".join(raised.value.lines()) + "\n" == case.with_suffix(".txt").read_text()
    assert raised.value.exit_code == 2


def test_there_are_bad_topologies_to_try() -> None:
    assert len(CASES) >= 25


@pytest.mark.parametrize(
    "spec",
    [
        "nowhere",
        "ring:2",
        "ring:x",
        "grid:4",
        "grid:1x1",
        "waxman:30:speed=1",
        "regular:12",
        "regular:12:degree=12",
        "regular:12:degree=1",
        "regular:11:degree=3",
        "ring:100000",
        "absent.yaml",
        "absent.gml",
    ],
)
def test_a_word_that_names_no_topology_says_which_do(spec: str) -> None:
    with pytest.raises(InputError) as raised:
        load(spec)
    assert raised.value.exit_code == 2
