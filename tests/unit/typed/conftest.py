"""A folder to type in, for all tests of a module; it is made anew when a command has changed it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What no command may leave."""
    return tmp_path_factory.mktemp("typed") / "root"
