"""Names that become part of a path, and which folders are removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import InputError
from testbed.inside.running import Running, laboratories
from testbed.owned import MARK, claim, is_own, plain_name, remove

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
