"""The sample documents and keys, as a fixture."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.unit.policy import samples as module


@pytest.fixture(scope="session")
def samples() -> ModuleType:
    """The module samples.py beside this file."""
    return module
