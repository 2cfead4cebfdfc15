"""Virtual time against the real clock: what is said of one measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed.cli.calibrate import row_text
from testbed.errors import InputError
from testbed.runner import calibrate
from testbed.runner.experiment import Experiment, find, names
from testbed.setup.paths import PROJECT

VIRTUAL = [10.0, 10.1, 9.9, 10.05, 9.95]


def test_a_shift_is_a_difference_with_its_interval() -> None:
    row = calibrate.row("lks", "convergence, s", VIRTUAL, [value + 1.0 for value in VIRTUAL])
    assert row["difference"] == pytest.approx(1.0) and 0.5 < row["low"] < row["high"] < 1.5
    assert row["differs"] is True and row["n"] == [5, 5]
    assert "+1.000 (95 %: +0." in row_text(row) and row_text(row).endswith("differs")


def test_noise_is_no_difference_and_two_runs_cannot_tell() -> None:
    assert calibrate.row("lks", "convergence, s", VIRTUAL, VIRTUAL[::-1])["differs"] is False
    assert calibrate.row("lks", "convergence, s", VIRTUAL[:2], VIRTUAL[:2])["differs"] is None


def test_a_run_that_never_converged_on_one_clock_is_not_left_out() -> None:
    row = calibrate.row("lks", "convergence, s", VIRTUAL, [10.0, None, 10.0, 10.0, 10.0])
    assert row["difference"] is None and row["differs"] is None
    assert "not every run has a number" in row_text(row)


def test_a_number_that_only_the_real_clock_has_is_told() -> None:
    row = calibrate.row("lks", "processor time, ms", [None, None], [3.0, 5.0])
    assert row["real"] == 4.0 and "virtual -, real 4.000; not every run has a number" in row_text(row)


def test_only_finished_runs_in_virtual_time_are_calibrated(tmp_path: Path) -> None:
    own = tmp_path / "runs" / "lks-1-x"
    own.mkdir(parents=True)
    told = {"keying": "lks", "seed": 1, "folder": "x", "status": "done", "wall_s": 1.0, "virtual_s": 1.0, "detail": ""}
    (own / "outcome.json").write_text(json.dumps(told))
    (own / "origin.json").write_text('{"kind": "uml", "kernel": "", "tree": "", "code": ""}')
    with pytest.raises(InputError, match="no finished run in virtual time"):
        calibrate.plans(tmp_path, (), None, [])


@pytest.mark.parametrize(
    "kept", sorted((PROJECT / "results" / "calibration").glob("*.json")), ids=lambda each: each.stem
)
def test_what_is_kept_of_an_experiment_has_its_first_number_on_both_clocks_and_a_line_in_the_table(kept: Path) -> None:
    experiment = find(kept.stem)
    assert isinstance(experiment, Experiment)
    first = [each for each in calibrate.read(kept) if each["measure"] == f"{experiment.main.name}, s"]
    assert {each["keying"] for each in first} >= {"lks"}
    assert all(each["virtual"] is not None and each["real"] is not None for each in first)
    assert f"| `{kept.stem}` |" in (PROJECT / "docs" / "results.md").read_text()


def test_every_experiment_that_has_a_guest_was_held_against_the_real_clock() -> None:
    kept = {each.stem for each in (PROJECT / "results" / "calibration").glob("*.json")}
    assert kept == {name for name in names() if isinstance(find(name), Experiment)}
