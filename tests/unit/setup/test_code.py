"""The copy of the project's code that guests read, and its byte code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import owned
from testbed.setup import artefact, code


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout of two small folders; nothing is compiled."""
    for name in code.FOLDERS:
        (tmp_path / "checkout" / name / "__pycache__").mkdir(parents=True)
        (tmp_path / "checkout" / name / "__init__.py").write_text(f"{name} = 1\n")
        (tmp_path / "checkout" / name / "__pycache__" / "x.pyc").write_text("the host's")
    monkeypatch.setattr(code, "PROJECT", tmp_path / "checkout")
    monkeypatch.setattr(code, "run", lambda *args, **options: "")
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    code._content.cache_clear()
    yield tmp_path / "checkout"
    code._content.cache_clear()


def changed() -> artefact.Artefact:
    code._content.cache_clear()
    return code.code()


def test_the_copy_is_named_by_the_code_and_holds_no_byte_code_of_the_hosts(project: Path) -> None:
    first = code.code()
    folder = first.make()
    assert (folder / "agents" / "__init__.py").read_text() == "agents = 1\n"
    assert not (folder / "agents" / "__pycache__").exists()
    (project / "testbed" / "__pycache__" / "y.pyc").write_text("more of the host's")
    assert changed().name == first.name
    (project / "testbed" / "template.j2").write_text("a file that is no code is read too")
    assert changed().name != first.name


def test_a_process_keeps_the_copy_that_it_began_with_whatever_is_edited_meanwhile(project: Path) -> None:
    first = code.code().name
    (project / "agents" / "__init__.py").write_text("agents = 2\n")
    assert code.code().name == first and changed().name != first


def made(project: Path, number: int, cache: Path) -> Path:
    """The copy of another state of the code, made and last used at this second."""
    (project / "agents" / "__init__.py").write_text(f"agents = {number}\n")
    copy = changed().make()
    for path in (copy, cache / "locks" / copy.name):
        os.utime(path, (number, number))
    return copy


def test_the_copies_used_last_stay_and_none_goes_that_a_guest_uses(project: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    running, old, again, *others = (made(project, number, cache) for number in range(code.KEPT))
    with artefact.in_use(again.name):
        pass
    with artefact.in_use(running.name):
        os.utime(cache / "locks" / running.name, (0, 0))
        newest = made(project, 1000, cache)
    assert running.exists() and again.exists() and newest.exists() and not old.exists()
    assert sum(each.exists() for each in (running, again, *others, newest)) == code.KEPT
    assert owned.is_own(newest)


def test_a_copy_that_was_removed_meanwhile_is_made_again_before_a_guest_starts(project: Path) -> None:
    artefact.remove(code.code().make())
    with code.used():
        assert code.code().ready
        with artefact.unused(code.code().name) as free:
            assert not free
