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
def test_a_small_run_costs_what_it_is_kept_to_cost(keying: str, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    measured = counts.played(*counts.SMALL, keying, tmp_path).counts
    before = counts.kept()[counts.name(*counts.SMALL, keying)]
    found = counts.changed(measured, before)
    assert not found, f"{'; '.join(found)}: if that is meant, ./lab bench --keep"
