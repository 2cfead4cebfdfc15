"""What a killed build left can be cleaned away; what is being built now is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import EnvironmentFailure
from testbed.setup.artefact import Artefact, held, leftovers


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    return tmp_path


def test_a_folder_that_a_killed_build_left_is_a_leftover(cache: Path) -> None:
    (cache / "thing-k.123.part").mkdir()
    assert leftovers() == [cache / "thing-k.123.part"]


def test_a_folder_that_is_being_built_is_not_a_leftover(cache: Path) -> None:
    (cache / "thing-k.123.part").mkdir()
    with held("thing-k", "waiting"):
        assert leftovers() == []


def test_two_processes_never_build_into_the_same_folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[str] = []
    for number in (1, 2):
        monkeypatch.setattr("os.getpid", lambda number=number: number)
        Artefact("thing", str(number), lambda folder: folders.append(folder.name), 1).make()
    assert folders == ["thing-1.1.part", "thing-2.2.part"]


def test_a_build_without_permission_is_an_environment_failure_with_all_its_parts() -> None:
    def build(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", "/root/x")

    with pytest.raises(EnvironmentFailure, match="Permission denied") as raised:
        Artefact("thing", "k", build, 1).make()
    error = raised.value
    assert (error.where, error.exit_code) == ("/root/x", 3)
    assert error.allowed and error.next_command
