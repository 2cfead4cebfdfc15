"""The nursery of agents is started by the mode's name alone, and is the one that the mode asks for."""

from __future__ import annotations

from testbed.keying.base import KEYINGS
from testbed.keying.preload import preload


def test_what_a_name_stands_for_is_what_its_mode_preloads() -> None:
    assert {name: preload(name) for name in KEYINGS} == {name: mode.preload for name, mode in KEYINGS.items()}
    assert any(map(preload, KEYINGS)) and preload("none") == preload("unknown") == preload(None) == ()
