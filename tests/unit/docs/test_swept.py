"""Sweeps that are kept: rows as they were measured, tables that say what never came, and a figure."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from testbed.documents import swept
from testbed.documents.swept import FILE, KEPT, keep, main, number, read, tables
from testbed.errors import InputError
from testbed.runner import sweepfile
from testbed.setup.paths import PROJECT


def row(keying: str, seed: int, time: float | None, *, degree: int = 2, receivers: int = 1) -> dict[str, Any]:
    levels = {"topology": f"regular:8:degree={degree}", "keying": keying, "receivers": receivers}
    asked = 70 if keying == "central" else 0
    return {**levels, "seed": seed, "routers": 8, "convergence_s": time, "dks_first_60s": asked,
            "virtual_s": 240.0, "run": "a folder"}  # fmt: skip


@cache
def swept_by(name: str) -> sweepfile.Sweep:
    return sweepfile.read(PROJECT / "experiments" / "sweeps" / f"{name}.yaml")


ROWS = [row("central", 1, None), row("none", 1, 12.5), row("central", 2, 33.1), row("none", 2, 13.5),
        row("none", 1, 11.0, degree=4), row("central", 1, None, degree=4, receivers=6)]  # fmt: skip


@pytest.fixture(name="kept")
def what_is_kept(tmp_path: Path) -> Path:
    import polars

    played = tmp_path / "runs" / "sweep-pim_storm_by_members"
    played.mkdir(parents=True)
    about = {"experiment": "pim_storm", "convergence_s": "first boot to all receivers hear", "code": "c",
             "factors": "topology,receivers,keying"}  # fmt: skip
    polars.DataFrame(ROWS).write_parquet(played / "results.parquet", metadata=about)
    keep("pim_storm/by_members", tmp_path / "runs", tmp_path / "kept")
    return tmp_path / "kept"


def test_every_row_is_kept_without_what_nobody_can_look_up(kept: Path) -> None:
    rows = read(kept)["rows"]
    assert len(rows) == len(ROWS) and not any(name in each for each in rows for name in ("run", "virtual_s"))
    assert rows[1]["convergence_s"] == 12.5 and "convergence_s" not in rows[0]
    assert (kept / "sweep.svg").read_text().startswith("<?xml")


def test_a_table_has_a_row_a_level_and_says_what_never_came(kept: Path) -> None:
    figure, _, *lines = tables("pim_storm/by_members", read(kept)).splitlines()
    assert figure.endswith("by neighbours of a router](../../results/pim_storm/by_members/sweep.svg)")
    assert lines[0] == "**Commands.** `./lab sweep experiments/sweeps/pim_storm_by_members.yaml`"
    assert lines[2] == "| first boot to all receivers hear, s: median (from to) | `none` | `central` |"
    assert lines[4] == "| `regular:8:degree=2`, receivers 1, 2 seeds | 13 (12.5 to 13.5) | 33.1; 1 of 2 never |"
    assert lines[5] == "| `regular:8:degree=4`, receivers 1, 1 seed | 11 | - |"
    assert lines[6] == "| `regular:8:degree=4`, receivers 6, 1 seed | - | never |"
    assert lines[8] == "| DKS requests in the first 60 s of power: median (from to) | `none` | `central` |"


def test_a_sweep_that_was_not_played_is_named_with_its_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as caught:
        keep("pim_storm/by_size", tmp_path, tmp_path)
    assert caught.value.next_command == "lab sweep experiments/sweeps/pim_storm_by_size.yaml"
    with pytest.raises(InputError, match="no sweep is kept"):
        read(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["pim_storm/by_moon"])
    assert left.value.code == 2


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_is_of_sweeps_that_stand_here(name: str) -> None:
    files = [swept_by(each) for each in KEPT[name].files]
    assert {each.experiment.name for each in files} == {name.split("/")[0]}
    for cell in (cell for each in files for cell in each.cells):
        places = {"topology": cell.levels["topology"], "routers": len(cell.plan.topology.routers)}
        assert KEPT[name].across(places) > 0
    seeds = {len({cell.seed for cell in each.cells}) for each in files}
    assert max(seeds) >= 2, "one seed says nothing of what differs"


@pytest.mark.parametrize("name", [name for name in KEPT if (PROJECT / "results" / name / FILE).is_file()])
def test_the_rows_that_are_kept_are_of_the_sweep_file_s_levels(name: str) -> None:
    kept = json.loads((PROJECT / "results" / name / FILE).read_text())
    files = [swept_by(Path(each.removeprefix("./lab sweep ")).stem) for each in kept["commands"]]
    assert {each.name for each in files} <= set(KEPT[name].files)
    wanted = {json.dumps(dict(cell.levels), sort_keys=True) for each in files for cell in each.cells}
    factors = kept["factors"].split(",")
    assert {json.dumps({key: row[key] for key in factors}, sort_keys=True) for row in kept["rows"]} == wanted


def test_numbers_have_three_digits_and_all_before_the_point() -> None:
    assert [number(each) for each in (None, 3.0, 1234.5, 12.345, 1.2345)] == ["", "3", "1,234", "12.3", "1.23"]
    with pytest.raises(InputError, match="says no degree"):
        swept.neighbours({"topology": "ring:4"})
