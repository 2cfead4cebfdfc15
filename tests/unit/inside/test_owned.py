"""Names that become part of a path, and which folders are removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from agents.policy.document import DomainName, RouterName
from agents.policy.errors import PolicyError
from agents.policy.names import GroupId, check_router
from testbed.attach.running import Running, chosen, laboratories
from testbed.errors import InputError
from testbed.owned import MARK, claim, fresh, is_own, plain_name, remove
from testbed.runner.afresh import again
from testbed.runner.execute import locked
from testbed.runner.experiment import find
from testbed.setup.paths import PROJECT
from testbed.topology.load import load

NO_NAMES = (
    "", ".", "..", "../x", "/etc", "a/b", "-x", "_a", ".a", "a" * 64, "a" * 255, "é", "a b", "a\n", "a\0", "\u0663",
)  # fmt: skip


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_is_not_one_plain_part_of_a_path_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        plain_name(name, "--name")
    assert caught.value.exit_code == 2
    assert caught.value.where == "--name"


@pytest.mark.parametrize("name", ["a", "7", "core-ams-01", "edge.nyc.example", "a_b", "a" * 63])
def test_a_plain_name_is_taken(name: str) -> None:
    assert plain_name(name, "--name") == name


def test_a_folder_without_the_mark_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years")
    assert not remove(tmp_path / "precious")
    assert Running(tmp_path / "precious").end() is False
    assert (tmp_path / "precious" / "thesis.tex").read_text() == "years"
    assert laboratories(tmp_path) == []


def test_a_link_to_a_marked_folder_is_not_followed(tmp_path: Path) -> None:
    claim(tmp_path / "lab", "--name")
    (tmp_path / "link").symlink_to(tmp_path / "lab")
    assert not remove(tmp_path / "link")
    assert is_own(tmp_path / "lab")


def test_what_a_link_in_a_marked_folder_points_to_stays(tmp_path: Path) -> None:
    claim(tmp_path / "lab", "--name")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    (tmp_path / "lab" / "out").symlink_to(tmp_path / "outside")
    assert remove(tmp_path / "lab")
    assert not (tmp_path / "lab").exists()
    assert (tmp_path / "outside" / "kept").exists()


def test_a_folder_with_something_in_it_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("full", "link"):
        with pytest.raises(InputError):
            claim(tmp_path / name, "--name")
    assert not (tmp_path / "full" / MARK).exists()
    claim(tmp_path / "new", "--name")
    claim(tmp_path / "new", "--name")
    assert is_own(tmp_path / "new")


def test_a_fresh_folder_takes_the_place_of_ours_and_of_nobody_elses(tmp_path: Path) -> None:
    claim(tmp_path / "run", "--out")
    (tmp_path / "run" / "old").touch()
    fresh(tmp_path / "run", "--out")
    assert [each.name for each in (tmp_path / "run").iterdir()] == [MARK]
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for name in ("precious", "link"):
        with pytest.raises(InputError):
            fresh(tmp_path / name, "--out")
    assert (tmp_path / "precious" / "thesis.tex").read_text() == "years"
    assert is_own(tmp_path / "run")


@pytest.mark.parametrize("name", [*NO_NAMES, "a", "core-ams-01", "a" * 63])
def test_the_agents_take_the_same_names_for_what_becomes_a_path(name: str) -> None:
    def taken(check: Callable[[], object], error: type[Exception]) -> bool:
        try:
            check()
        except error:
            return False
        return True

    ours = taken(lambda: plain_name(name, "--name"), InputError)
    assert taken(lambda: check_router(name), PolicyError) is ours
    assert taken(lambda: GroupId("example", name, "eth0", "ospf"), PolicyError) is ours
    assert taken(lambda: GroupId(name, "r1", "eth0", "ospf"), PolicyError) is ours
    assert taken(lambda: TypeAdapter(RouterName).validate_python(name), ValidationError) is ours
    assert taken(lambda: TypeAdapter(DomainName).validate_python(name), ValidationError) is ours


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_from_a_file_that_becomes_a_path_is_refused_where_it_enters(tmp_path: Path, name: str) -> None:
    (tmp_path / "net.yaml").write_text(f"name: {json.dumps(name)}\nlinks: [r1-r2]\n")
    with pytest.raises(InputError):
        load(str(tmp_path / "net.yaml"))
    (tmp_path / "mine.py").write_text(
        f"from testbed.runner.experiment import Experiment\nclass Mine(Experiment):\n    name = {name!r}\n"
        "    def timeline(self, topology, rng): return []\n    def measure(self, run): return None\n"
    )
    with pytest.raises(InputError):
        find(str(tmp_path / "mine.py"))
    with pytest.raises(InputError):
        find(name)
    with pytest.raises(InputError):
        chosen(tmp_path, name)


@pytest.mark.parametrize(
    ("stem", "name"),
    [("mine", "mine"), ("my net (2)", "my-net-2"), ("köln", "k-ln"), ("--", "topology"), ("a" * 200, "a" * 63)],
)
def test_a_topology_without_a_name_has_its_files_made_plain(tmp_path: Path, stem: str, name: str) -> None:
    (tmp_path / f"{stem}.yaml").write_text("links: [r1-r2]\n")
    assert load(str(tmp_path / f"{stem}.yaml")).name == name
    assert plain_name(name, "") == name


def test_a_folder_without_results_gets_nothing_from_a_report(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(InputError, match="no run is here"):
        again(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["notes"]


def test_results_are_written_into_a_new_folder_or_one_with_results_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "report.html").write_text("mine")
    with pytest.raises(InputError, match="did not make"), locked(tmp_path / "home", new=True):
        pass
    assert sorted(each.name for each in (tmp_path / "home").iterdir()) == ["report.html"]
    for _ in range(2):
        with locked(tmp_path / "new", new=True):
            (tmp_path / "new" / "report.html").touch()
    archive = tmp_path / "archive"
    (archive / "runs" / "lks-1-abc").mkdir(parents=True)
    (archive / "runs" / "lks-1-abc" / "plan.json").touch()
    (tmp_path / "disk").symlink_to(archive)
    with locked(tmp_path / "disk", new=True):
        assert not (archive / MARK).exists()


@pytest.mark.parametrize("words", [["clean"], ["clean", "--cache"]])
def test_cleaning_a_cache_that_is_somebodys_home_removes_nothing_of_his(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "outside").mkdir()
    claim(tmp_path / "outside" / "other", "")
    home = tmp_path / "home"
    for name in ("thesis", "apt", "up", "film.7.part", "guest-tree-0123456789ab", ".ssh"):
        (home / name).mkdir(parents=True)
        (home / name / "file").touch()
    (home / "linked").symlink_to(tmp_path / "outside" / "other")
    claim(home / "guest-kernel-0123456789ab", "")
    before = sorted(home.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "testbed.cli", *words], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "LAB_CACHE": str(home)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = [home / "guest-kernel-0123456789ab", home / "guest-kernel-0123456789ab" / MARK]
    gone = ours if "--cache" in words else []
    left = sorted(path for path in home.rglob("*") if home / "locks" not in (path, *path.parents))
    assert left == [path for path in before if path not in gone]
    assert is_own(tmp_path / "outside" / "other")
