"""What is kept through a power failure, and the files that agents read."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from agents.lks.config import read_config
from agents.runtime.effects import Event
from agents.runtime.events import EventLog
from agents.runtime.settings import ConfigError
from agents.runtime.stderr import reason
from agents.runtime.storage import CorruptRecord, make_folder, seal, unseal, write_atomic


def test_a_file_is_replaced_as_a_whole_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["counters"]


def test_what_a_power_failure_left_half_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".counters.new").write_bytes(b"half")
    write_atomic(tmp_path / "counters", b"whole")
    assert (tmp_path / "counters").read_bytes() == b"whole"


@pytest.mark.parametrize(
    "damage", [lambda r: r[:-1], lambda r: b"", lambda r: r[:40] + b"x" + r[41:], lambda r: r + b"x"]
)
def test_a_damaged_record_is_an_error(damage) -> None:  # type: ignore[no-untyped-def]
    record = seal("kind", b"payload of a record")
    assert unseal("kind", record) == b"payload of a record"
    with pytest.raises(CorruptRecord):
        unseal("kind", damage(record))
    with pytest.raises(CorruptRecord):
        unseal("other kind", record)


def test_events_are_lines_of_json_that_several_processes_append_to(tmp_path: Path) -> None:
    logs = [EventLog(tmp_path / "events", name) for name in ("a", "b")]
    for log in logs:
        log.write(Event("keyed", {"interface": "e0", "at": Path("x")}))
    lines = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert [line["node"] for line in lines] == ["a", "b"]
    assert lines[0]["kind"] == "keyed" and lines[0]["at"] == "x" and isinstance(lines[0]["t"], int)


GOOD = 'name = "r1"\ndomain = "d"\nidentity = "i"\npolicy_server_key = "p"\nstate_dir = "s"\n'


def test_paths_of_a_configuration_are_taken_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "lks.toml").write_text(GOOD)
    assert read_config(tmp_path / "lks.toml").identity == tmp_path / "i"


@pytest.mark.parametrize(
    "text", [GOOD + "colour = 1\n", GOOD + "port = 0\n", 'name = "r1"\n', "name = ", GOOD + "socket = 5\n"]
)
def test_a_configuration_with_a_fault_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "lks.toml").write_text(text)
    with pytest.raises(ConfigError):
        read_config(tmp_path / "lks.toml")


def test_a_pipe_that_is_named_for_output_is_written_into_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomic(pipe, b"signed")
        assert os.read(reader, 100) == b"signed"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_device_that_is_named_for_output_stays() -> None:
    before = os.stat("/dev/null")
    write_atomic(Path("/dev/null"), b"signed")
    assert os.stat("/dev/null").st_ino == before.st_ino


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_write_that_fails_names_its_file_and_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "counters"
    write_atomic(path, b"old")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"agents.runtime.storage.os.{step}", full)
    with pytest.raises(OSError) as failed:
        write_atomic(path, b"new")
    assert reason(failed.value) == f"{path}: No space left on device"
    assert [each.name for each in tmp_path.iterdir()] == ["counters"] and path.read_bytes() == b"old"


def test_what_lies_where_a_folder_is_to_be_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "file")
    make_folder(tmp_path / "new" / "folder")
    make_folder(tmp_path / "new" / "folder")
