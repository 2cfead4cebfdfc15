"""Figures are drawn but not painted: what they look like is tests/unit/report's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tests.unit.results import made

Copy = Callable[..., Path]


@contextmanager
def unpainted_figures() -> Iterator[None]:
    """Figures are drawn, and their files are empty."""

    def save(_self: Figure, target: Any, **_options: Any) -> None:
        if isinstance(target, Path):
            target.write_bytes(b"")
        else:
            target.write("<svg ></svg>\n")

    with patch.object(Figure, "savefig", save), patch.object(ConstrainedLayoutEngine, "execute"):
        yield


@pytest.fixture(autouse=True, scope="session")
def unpainted() -> Iterator[None]:
    with unpainted_figures():
        yield


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, unpainted: None) -> Path:
    return made.results(tmp_path_factory.mktemp("whole") / "results")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A results folder of one's own, to be damaged."""
    shutil.copytree(whole, tmp_path / "results")
    return tmp_path / "results"
