"""What a small run costs, in counts that depend on no machine: a change that makes every run dearer is found here."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.bench import counts
from testbed.setup import kernel, tree

pytestmark = pytest.mark.skipif(
    not (kernel.kernel().ready and tree.tree().ready), reason="./lab setup has not made the guest yet"
)


@pytest.mark.parametrize("keying", counts.KEYINGS)
def test_a_small_run_costs_what_it_is_kept_to_cost_and_no_more_for_pim_than_it_may(keying: str, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    measured, found = {}, []
    for pim in (True, False):
        run = counts.name(*counts.SMALL, keying, pim=pim)
        measured[run] = counts.played(*counts.SMALL, keying, tmp_path, pim=pim).counts
        found += [f"{run}: {each}" for each in counts.changed(measured[run], counts.kept()[run])]
    assert not found, f"{'; '.join(found)}: if that is meant, ./lab bench --keep"
    ratios = counts.for_pim(measured)
    assert len(ratios) == 1 and not counts.dear(ratios)
