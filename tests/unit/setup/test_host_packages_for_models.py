"""What checking the models needs of the machine."""

from __future__ import annotations

import shutil

import pytest

from testbed.setup import all as setup
from testbed.setup import host_packages, python_env


@pytest.fixture(autouse=True)
def layers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The Python layers that are asked for."""
    asked: list[str] = []
    monkeypatch.setattr(python_env, "use", lambda *names: asked.extend(names))
    return asked


def test_nothing_is_installed_when_spin_and_a_compiler_are_found(
    monkeypatch: pytest.MonkeyPatch, layers: list[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/somewhere/{name}")
    monkeypatch.setattr(host_packages, "install", lambda packages: pytest.fail(f"installs {packages}"))
    setup.make_for_models()
    assert layers == ["models"]


@pytest.mark.parametrize("absent", ["spin", "gcc"])
def test_spin_and_a_compiler_are_installed_when_one_is_missing(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    installed: list[str] = []
    monkeypatch.setattr(shutil, "which", lambda name: None if name == absent else f"/somewhere/{name}")
    monkeypatch.setattr(host_packages, "install", installed.extend)
    setup.make_for_models()
    assert absent in installed
