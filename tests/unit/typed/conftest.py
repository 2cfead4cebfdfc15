"""A folder to type in, for all tests of a module; it is made anew when a command has changed it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What no command may leave."""
    return tmp_path_factory.mktemp("typed") / "root"


@pytest.fixture(autouse=True)
def no_byte_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own files are no command's: a test run may keep them apart from the sources."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
