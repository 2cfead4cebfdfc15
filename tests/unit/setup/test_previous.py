"""The previous release out of the history: which commit, and what is said where it is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import EnvironmentFailure
from testbed.setup import previous

NAMED = "1" * 40


@pytest.fixture
def changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "CHANGELOG.md"
    monkeypatch.setattr(previous, "CHANGES", file)
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    return file


def test_it_is_the_newest_one_that_the_change_log_names_a_commit_of(changes: Path) -> None:
    older = f"\n## 0.0.9\nCommit `{'2' * 40}`.\n"
    changes.write_text(f"# Changes\n\n## 0.3.0\n\n### New\n- Much.\n\n## 0.2.0\nCommit `{NAMED}`.\n{older}")
    assert previous.commit() == NAMED


def test_a_change_log_without_one_is_told(changes: Path) -> None:
    changes.write_text("# Changes\n\n## 0.2.0\n")
    with pytest.raises(EnvironmentFailure, match="names no commit"):
        previous.commit()


def test_a_checkout_without_its_history_is_told_with_the_command_that_brings_it(changes: Path) -> None:
    changes.write_text(f"## 0.1.0\nCommit `{NAMED}`.\n")
    assert previous.missing() == f"commit {NAMED[:12]} is not in this checkout"
    with pytest.raises(EnvironmentFailure, match="is not in this checkout") as raised:
        previous.release().make()
    assert raised.value.next_command == "git fetch --unshallow"
