"""Guests and their host: whose the files are, several at once, and that no process or file outlives its starter."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.errors import EnvironmentFailure
from testbed.guest.boot import GuestResult, GuestSpec, run_guest
from testbed.setup.paths import PROJECT

PR_SET_CHILD_SUBREAPER = 36
PATIENCE_S = 60.0
# Starts a guest on the real clock that says "up" and then waits for ever; its memory is kept in the folder named.
STARTER = """
import sys
from pathlib import Path
from testbed.guest import uml
from testbed.guest.boot import GuestSpec, run_guest
from testbed.setup import children
import signal

def interrupted(number, frame):
    children.end_all()
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupted)
uml.memory_folder = lambda mib: Path(sys.argv[2])
run_guest(GuestSpec("uml", ("sh", "-c", "echo up; sleep 100000"), Path(sys.argv[1]), console=True))
"""


def ran(folder: Path, *command: str) -> GuestResult:
    return run_guest(GuestSpec("virtual", command, folder), timeout_s=PATIENCE_S)


def test_a_run_folder_may_have_spaces_and_letters_of_any_language(tmp_path: Path) -> None:
    folder = tmp_path / "a run, of émile's “ring” = 20%"
    assert ran(folder, "sh", "-c", "echo written > /lab/run/file").exit_code == 0
    assert (folder / "file").read_text() == "written\n"


def test_what_the_guest_writes_belongs_to_whoever_runs_it(tmp_path: Path) -> None:
    ran(tmp_path, "sh", "-c", "mkdir /lab/run/folder && echo x > /lab/run/folder/file")
    for path in (tmp_path / "folder", tmp_path / "folder" / "file"):
        assert path.stat().st_uid == os.geteuid()
        assert os.access(path, os.W_OK)


def test_two_guests_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        started = [
            pool.submit(ran, tmp_path / str(number), "sh", "-c", f"sleep 100; exit {number}") for number in (3, 4)
        ]
        assert [each.result().exit_code for each in started] == [3, 4]


def test_a_guest_that_outstays_its_time_is_ended_and_said_so(tmp_path: Path) -> None:
    spec = GuestSpec("uml", ("sh", "-c", "echo here; sleep 100000"), tmp_path)
    with no_process_left(), pytest.raises(EnvironmentFailure, match="still running after 2 s") as raised:
        run_guest(spec, timeout_s=2.0)
    assert raised.value.exit_code == 3
    assert not (tmp_path / ".uml").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_guest_ends_with_its_starter_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    with no_process_left():
        starter = subprocess.Popen(
            [sys.executable, "-c", STARTER, tmp_path / "run", memory],
            cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert starter.stdout is not None
        assert any(line.strip() == "up" for line in starter.stdout)
        starter.send_signal(number)
        starter.stdout.read()  # ends when the last process that could write there has ended
        assert starter.wait() != 0
    assert list(memory.iterdir()) == []


@contextmanager
def no_process_left() -> Iterator[None]:
    """Fails when a process started in the block is still there after PATIENCE_S: orphans become our children."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    before = signal.signal(signal.SIGALRM, _too_long)
    try:
        yield
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
        while True:
            try:
                os.wait()
            except ChildProcessError:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        prctl(PR_SET_CHILD_SUBREAPER, 0)


def _too_long(number: int, frame: object) -> None:
    raise AssertionError("processes of a guest outlived its starter")
