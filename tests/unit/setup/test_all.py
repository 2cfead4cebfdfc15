"""What is made for which kernel, and what a person is told before minutes go by."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.setup import all as setup
from testbed.setup import host_packages, kernel, tree
from testbed.setup.artefact import Artefact


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of what is built into an empty cache, instead of building them."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(host_packages, "install", lambda packages: None)
    built: list[str] = []

    def build(artefact: Artefact) -> None:
        built.append(artefact.kind)
        artefact.path.mkdir(parents=True)

    monkeypatch.setattr(Artefact, "make", build)
    return built


def test_the_tests_tree_is_made_for_tests_only(made: list[str]) -> None:
    setup.make_all("uml")
    assert made[2:] == ["guest-code"] and sorted(made[:2]) == ["guest-tree", "venv"]
    setup.make_all("virtual", tests=True)
    assert sorted(made[3:]) == ["guest-kernel", "guest-tree-tests"]
    setup.make_all("virtual", tests=True)
    assert len(made) == 5 and tree.tree(tests=True).ready and kernel.kernel().ready


def test_before_the_kernel_is_compiled_it_is_said_how_long_that_takes_and_what_can_be_seen_sooner(
    made: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    setup.make_all("uml")
    assert "not built yet" not in capfd.readouterr().err
    setup.make_all("virtual")
    told = capfd.readouterr().err
    assert "the guest's kernel is not built yet" in told and "--kernel uml" in told
    setup.make_all("virtual")
    assert capfd.readouterr().err == ""


def test_more_cores_make_it_shorter_up_to_where_they_no_longer_help() -> None:
    def minutes(cores: int) -> int:
        return int(setup.expectation(cores).partition("about ")[2].split()[0])

    assert minutes(1) > minutes(2) > minutes(4) >= minutes(setup.USEFUL_CORES) == minutes(64) >= 1
