"""What a killed build left can be cleaned away; what is being built now is not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from testbed.errors import EnvironmentFailure
from testbed.owned import claim
from testbed.setup.artefact import Artefact, held, leftovers, mounted_below, remove


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    return tmp_path


def test_a_folder_that_a_killed_build_left_is_a_leftover(cache: Path) -> None:
    claim(cache / "thing-k.123.part", "")
    (cache / "film.7.part").mkdir()
    assert leftovers() == [cache / "thing-k.123.part"]


def test_a_folder_that_is_being_built_is_not_a_leftover(cache: Path) -> None:
    claim(cache / "thing-k.123.part", "")
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


MOUNTS = """\
21 1 8:1 / / rw - ext4 /dev/sda1 rw
80 21 0:5 / /cache/tree.part/root/dev rw - tmpfs none rw
81 80 0:6 / /cache/tree.part/root/dev/pts rw - devpts none rw
82 21 0:7 / /cache/tree.part\\040two/root/sys rw - sysfs none rw
83 21 0:8 / /cache/tree rw - tmpfs none rw
"""


def test_what_is_mounted_in_a_folder_is_found_the_innermost_first() -> None:
    assert mounted_below(Path("/cache/tree.part"), MOUNTS) == [
        Path("/cache/tree.part/root/dev/pts"),
        Path("/cache/tree.part/root/dev"),
    ]
    assert mounted_below(Path("/cache/tree.part two"), MOUNTS) == [Path("/cache/tree.part two/root/sys")]
    assert mounted_below(Path("/cache/tree"), MOUNTS) == []


def test_removing_a_folder_never_goes_into_what_is_mounted_there(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precious = cache / "thing.part" / "root" / "sys"
    precious.mkdir(parents=True)
    monkeypatch.setattr("testbed.setup.artefact.mounted_below", lambda folder: [precious])
    monkeypatch.setattr(
        "testbed.setup.artefact.subprocess.run", lambda *words, **options: subprocess.CompletedProcess(words, 32)
    )
    with pytest.raises(EnvironmentFailure, match="a file system is mounted"):
        remove(cache / "thing.part")
    assert precious.exists()


def test_a_cache_that_may_not_even_be_looked_into_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_errors(path: Path, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", raise_errors)
    assert not Artefact("thing", "k", lambda folder: None, 1).ready
