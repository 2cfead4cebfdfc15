"""Agents leave no core files, cannot be traced, and use no folder that others may write to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.runtime import harden
from testbed.bench.ring import make

PATIENCE_S = 60.0
LOOK = """
import ctypes, resource
from agents.runtime import harden
try:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
except (ValueError, OSError):
    pass  # whoever started this has taken core files away for good
before = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
harden.process()
print(before, ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_a_process_leaves_no_core_file_and_is_not_traced() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0", "0", "0"]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_running_dks_and_its_workers_are_hardened(tmp_path: Path, workers: int) -> None:
    make(3, "127.0.0.1", 0xBEEF, tmp_path / "d", issued_at=int(time.time()) - 60, local_key_server=True)
    with (tmp_path / "d" / "dks.toml").open("a") as config:
        config.write(f'socket = "dks.sock"\nevents = "events"\nworkers = {workers}\n')
    with subprocess.Popen(
        [sys.executable, "-m", "agents.dks", "run", "--config", str(tmp_path / "d" / "dks.toml")]
    ) as dks:
        try:
            end = time.monotonic() + PATIENCE_S
            events = tmp_path / "d" / "events"
            while not events.exists() or events.read_text().count('"started","documents"') < workers:
                assert time.monotonic() < end and dks.poll() is None
                time.sleep(0.02)
            children = subprocess.run(["pgrep", "-P", str(dks.pid)], capture_output=True, text=True).stdout.split()
            assert len(children) == (0 if workers == 1 else workers)
            for pid in (dks.pid, *map(int, children)):
                limits = Path(f"/proc/{pid}/limits").read_text()
                assert re.search(r"^Max core file size +0 +0 ", limits, re.M)
        finally:
            dks.terminate()


def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        harden.folder(tmp_path / "state")
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    harden.folder(tmp_path / "state")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(mode)
    with pytest.raises(PermissionError, match=f"{mode:04o}"):
        harden.folder(tmp_path / "state")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    os.chown(tmp_path / "state", 12345, 12345)
    with pytest.raises(PermissionError, match="must own it"):
        harden.folder(tmp_path / "state")


def test_a_dks_whose_state_others_may_write_to_does_not_start(tmp_path: Path) -> None:
    make(3, "127.0.0.1", 0xBEEF, tmp_path / "d", issued_at=int(time.time()) - 60)
    (tmp_path / "d" / "state").mkdir()
    (tmp_path / "d" / "state").chmod(0o777)
    words = [sys.executable, "-m", "agents.dks", "run", "--config", str(tmp_path / "d" / "dks.toml")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 3 and "no other user may write" in done.stderr
