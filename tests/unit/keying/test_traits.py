"""What a keying mode is, it says itself: the traits that experiments and reports ask."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from testbed.keying.base import KEYINGS, keying_names, modes
from testbed.setup.paths import PROJECT


def test_every_mode_of_ours_has_a_look_and_no_two_share_one() -> None:
    looks = [mode.look for mode in KEYINGS.values()]
    assert None not in looks and len(set(looks)) == len(KEYINGS)


def test_the_modes_with_a_dks_protect_by_ipsec_and_those_that_schedule_visits_have_local_key_servers() -> None:
    assert set(modes(lambda mode: mode.dks)) <= set(modes(lambda mode: mode.ipsec))
    assert set(modes(lambda mode: mode.schedules_visits)) <= set(modes(lambda mode: mode.local_key_server))
    assert modes(lambda mode: mode.local_key_server) == ("dks-lks", "lks")


def lists(path: Path) -> list[str]:
    """Module-level tuples, lists, sets and dictionaries of two and more names of modes: what a trait would say."""
    found = []
    for node in ast.parse(path.read_text()).body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        parts = value.keys if isinstance(value, ast.Dict) else getattr(value, "elts", [])
        names = {each.value for each in parts if isinstance(each, ast.Constant) and each.value in keying_names()}
        if len(names) > 1:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("folder", ["testbed/analysis", "testbed/report", "testbed/runner", "testbed/faults"])
def test_no_module_has_a_list_of_modes_of_its_own(folder: str) -> None:
    assert {str(path): found for path in (PROJECT / folder).rglob("*.py") if (found := lists(path))} == {}
