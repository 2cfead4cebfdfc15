"""The project's own rules of form: lint, layout and types hold for everything that is committed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from testbed.setup.paths import PROJECT

CHECKS = (
    ("ruff", "check", "--no-cache", "."),
    ("ruff", "format", "--no-cache", "--check", "."),
    ("mypy", "agents", "testbed", "experiments", "fuzz", "models"),
)


@pytest.mark.parametrize("words", CHECKS, ids=lambda words: " ".join(words[:2]))
def test_the_code_keeps_the_rules_of_form(words: tuple[str, ...], tmp_path: Path) -> None:
    cache = ("--cache-dir", str(tmp_path)) if words[0] == "mypy" else ()
    done = subprocess.run(
        [sys.executable, "-m", *words, *cache], cwd=PROJECT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
