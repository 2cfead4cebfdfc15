"""What a small run costs, in counts that depend on no machine: a change that makes every run dearer is found here. And
what its figure costs beside it, in processor time of the same minute."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from testbed.analysis.run import Run
from testbed.bench import counts
from testbed.report.drawing import Drawing
from testbed.report.write import ask_timeline
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


def test_the_figure_of_a_run_takes_less_than_a_tenth_of_the_processor_time_of_the_run(tmp_path: Path) -> None:
    def guests_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    (tmp_path / "runs").mkdir()
    before_s = guests_s()
    run = Run(counts.played(*counts.STORM, "none", tmp_path).folder)  # the cheapest of its modes
    played_s, figures = guests_s() - before_s, Drawing()
    ask_timeline(figures, tmp_path, run, first=True)[1].result()  # libraries and fonts are loaded once for all runs
    began_s = time.process_time()
    ask_timeline(figures, tmp_path, run, first=False)[1].result()
    drawn_s = time.process_time() - began_s
    assert drawn_s < played_s / 10
