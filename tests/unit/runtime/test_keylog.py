"""--ike-log: a file that only its owner can read, or no agent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.dks import daemon as dks
from agents.lks import daemon as lks
from agents.runtime.effects import KeyLines
from agents.runtime.keylog import KeyLog
from agents.runtime.settings import ConfigError


def test_the_file_is_made_for_its_owner_only_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    before = os.umask(0)
    try:
        for line in ("one", "two"):
            log = KeyLog(path)
            log.write(KeyLines((line, "# more")))
            log.close()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "one\n# more\ntwo\n# more\n"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys"
    path.touch()
    path.chmod(mode)
    with pytest.raises(ConfigError, match="0600"):
        KeyLog(path)


def test_a_symbolic_link_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("link", "."):
        with pytest.raises(ConfigError):
            KeyLog(tmp_path / name)
    assert not (tmp_path / "target").exists()


def test_secrets_do_not_show_in_a_repr() -> None:
    assert "secret" not in repr(KeyLines(("secret",)))


@pytest.mark.parametrize("main", [dks.main, lks.main])
def test_only_a_running_agent_takes_the_option(main: object, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        main(["status", "--ike-log", str(tmp_path / "keys")])  # type: ignore[operator]
    assert left.value.code == 2 and not (tmp_path / "keys").exists()
