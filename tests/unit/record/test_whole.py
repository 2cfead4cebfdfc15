"""A file of results is there whole or as it was, and what is no file stays what it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from testbed.whole import put


def test_a_file_takes_the_place_of_an_older_one_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    put(tmp_path / "a", "one")
    put(tmp_path / "a", b"two")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a", "two")]


def test_a_pipe_or_a_device_is_written_into_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        put(tmp_path / "pipe", "told")
        assert os.read(reader, 10) == b"told" and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    finally:
        os.close(reader)


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "none" / "file"):
        with pytest.raises(OSError) as raised:
            put(path, "text")
        assert raised.value.filename == str(path)
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
