"""What a newcomer stumbles over in results folders: other networks, other files, full disks."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from testbed.cli import compare
from testbed.errors import EnvironmentFailure, InputError, of_file
from testbed.runner.session import refuse_another, written
from testbed.topology.load import load
from tests.unit.results import made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made.results(tmp_path / "one")


def compared(*folders: Path) -> dict[str, object]:
    app = typer.Typer()
    compare.register(app)
    done = CliRunner().invoke(app, [*map(str, folders), "--json"])
    found: dict[str, object] = json.loads(done.output)
    return found


def test_the_records_themselves_are_compared_and_one_that_was_changed_is_told(folder: Path, tmp_path: Path) -> None:
    other = made.results(tmp_path / "two")
    assert compared(folder, other)["records"] == {"same": 4, "of": 4}
    record = made.only(other, "lks", 1) / "record.jsonl"
    record.write_text(record.read_text() + record.read_text().splitlines()[-1] + "\n")
    found = compared(folder, other)
    assert found["records"] == {"same": 3, "of": 4}
    assert [str(record) in each and "was changed" in each for each in found["flaws"]] == [True]  # type: ignore[attr-defined]


def test_a_record_that_is_gone_is_told_and_not_compared(folder: Path, tmp_path: Path) -> None:
    other = made.results(tmp_path / "two")
    (made.only(other, "lks", 1) / "record.jsonl").unlink()
    found = compared(folder, other)
    assert found["records"] == {"same": 3, "of": 3} and len(found["flaws"]) == 1  # type: ignore[arg-type]


def test_another_network_of_the_same_name_does_not_write_over_results(folder: Path, tmp_path: Path) -> None:
    refuse_another(folder, "power_cycle", made.RING)
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: ring-4\nlinks: [a--b, b--c]\n")
    other = load(str(mine)).model_copy(update={"name": made.RING.name})
    with pytest.raises(InputError, match="another network with the same name") as caught:
        refuse_another(folder, "power_cycle", other)
    assert "--out" in str(caught.value.allowed)


def test_a_full_disk_is_the_machines_failure_and_says_that_finished_runs_are_kept(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure, match="no space left") as caught, written(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "x"))
    assert caught.value.exit_code == 3 and "are kept" in str(caught.value.next_command)
    assert of_file(PermissionError(errno.EACCES, "Permission denied", "x")).exit_code == 2
