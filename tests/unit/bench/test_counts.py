"""What of a run's cost is said to have changed, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.bench import counts
from testbed.topology.load import load

BEFORE = {"trips": 1000, "syscalls": 900, "faults": 100, "programs": 20}


def test_five_percent_more_or_less_is_no_change_and_more_is_said_with_both_numbers() -> None:
    assert counts.changed({"trips": 1050, "syscalls": 855, "faults": 100, "programs": 21}, BEFORE) == []
    assert counts.changed({"trips": 1051, "syscalls": 900, "faults": 90, "programs": 20}, BEFORE) == [
        "trips 1051 in place of 1000 (+5%)",
        "faults 90 in place of 100 (-10%)",
    ]


def test_keeping_one_run_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "KEPT", tmp_path / "counts.json")
    assert counts.kept() == {}
    counts.keep({"a": BEFORE, "b": BEFORE})
    counts.keep({"b": {**BEFORE, "trips": 7}})
    assert counts.kept() == {"a": BEFORE, "b": {**BEFORE, "trips": 7}}


def test_the_ratio_for_pim_is_of_runs_that_were_made_with_and_without_it() -> None:
    name = counts.name("link_cut", "line:2", "lks")
    alone = {"link_cut line:3 lks": BEFORE}
    assert counts.for_pim({name: {"trips": 1300}, f"{name} without PIM": BEFORE, **alone}) == {name: 1.3}
    assert counts.dear({name: 1.3}) == []
    assert counts.dear({name: 1.9}) == [f"{name}: 1.90 × the trips without PIM in place of 1.6 at most"]


@pytest.mark.parametrize("links", ["links: [r1-r2]", "lans: {office: [r1, r2, r3]}\nlinks: [r1-r4]"])
def test_a_topology_without_pim_is_what_it_is_with_pim_off(links: str, tmp_path: Path) -> None:
    for name in ("on", "off"):
        (tmp_path / f"{name}.yaml").write_text(f"name: t\n{links}\npim: {name}\n")
    one, other = (load(str(tmp_path / f"{name}.yaml")) for name in ("on", "off"))
    assert one.pim is not None and other.pim is None
    assert counts.without_pim(one) == other


def test_what_the_repository_keeps_has_every_count_of_the_runs_that_the_benchmark_makes() -> None:
    kept = counts.kept()
    without = [(*each, False) for each in (counts.SMALL, counts.STORM)]
    for experiment, topology, pim in (
        *((*each, True) for each in (counts.SMALL, counts.LARGE, counts.STORM)),
        *without,
    ):
        for keying in counts.KEYINGS:
            assert set(kept[counts.name(experiment, topology, keying, pim=pim)]) == set(counts.NAMES)


def test_what_the_repository_keeps_says_that_pim_costs_no_more_than_it_may() -> None:
    ratios = counts.for_pim(counts.kept())
    wanted = [counts.name(*run, keying) for run in (counts.SMALL, counts.STORM) for keying in counts.KEYINGS]
    assert sorted(ratios) == sorted(wanted)
    assert counts.dear(ratios) == []
