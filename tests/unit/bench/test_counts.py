"""What of a run's cost is said to have changed, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.bench import counts

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


def test_what_the_repository_keeps_has_every_count_of_the_runs_that_the_benchmark_makes() -> None:
    kept = counts.kept()
    for experiment, topology in (counts.SMALL, counts.LARGE):
        for keying in counts.KEYINGS:
            assert set(kept[counts.name(experiment, topology, keying)]) == set(counts.NAMES)
