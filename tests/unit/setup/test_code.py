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


def test_old_copies_go_when_another_is_made_unless_a_guest_uses_them(project: Path) -> None:
    old = code.code().make()
    (project / "agents" / "__init__.py").write_text("agents = 2\n")
    used = changed().make()
    for each in (old, used):
        os.utime(each, (0, 0))
    (project / "agents" / "__init__.py").write_text("agents = 3\n")
    with artefact.in_use(used.name):
        newest = changed().make()
    assert not old.exists() and used.exists() and newest.exists()
    assert owned.is_own(newest)
