"""Programs that setup starts end with it, and say why they failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import EnvironmentFailure
from testbed.setup import children, command
from testbed.setup.paths import PROJECT

FOREVER = ["sh", "-c", "echo up; exec tail -f /dev/null"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(children, "_ended", threading.Event())
    yield


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def ended(pid: int) -> bool:
    """Gone, or dead and not yet buried by whoever adopted it."""
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_what_still_runs_when_the_block_is_left_is_ended_with_its_own_children() -> None:
    script = "tail -f /dev/null & echo $!; wait"
    with children.started(["sh", "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        assert not gone(grandchild)
    assert child.returncode == -signal.SIGTERM
    # The signal has been sent; on a busy machine its end takes a moment.
    end = time.monotonic() + 60
    while not ended(grandchild) and time.monotonic() < end:
        time.sleep(0.01)
    assert ended(grandchild)


def test_ending_all_wakes_every_thread_that_waits_and_lets_nothing_start() -> None:
    seen: list[str] = []
    up = threading.Event()

    def work() -> None:
        try:
            with children.started(FOREVER, stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                child.stdout.readline()
                up.set()
                child.wait()
        except KeyboardInterrupt:
            seen.append("interrupted")

    thread = threading.Thread(target=work)
    thread.start()
    assert up.wait(30)
    children.end_all()
    thread.join(30)
    assert seen == ["interrupted"]
    with pytest.raises(KeyboardInterrupt), children.started(["true"]):
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_does_not_outlive_a_starter_that_is_killed(number: signal.Signals) -> None:
    script = (
        "import subprocess; from testbed.setup import children\n"
        f"with children.started({FOREVER!r}, stdout=subprocess.PIPE) as child:\n"
        "    child.stdout.readline(); print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as starter:  # fmt: skip
        assert starter.stdout is not None
        child = os.pidfd_open(int(starter.stdout.readline()))
        starter.send_signal(number)
        starter.wait()
    signalled = threading.Event()

    def wait() -> None:
        import select

        select.select([child], [], [])  # readable when that process ends
        signalled.set()

    threading.Thread(target=wait, daemon=True).start()
    assert signalled.wait(30)
    os.close(child)


def test_a_program_that_fails_shows_its_last_lines_and_the_next_command() -> None:
    with pytest.raises(EnvironmentFailure, match=r"fetching failed \(exit code 3\)") as raised:
        command.run(["sh", "-c", "seq 100; exit 3"], what="fetching", next_command="look")
    assert "    100" in raised.value.problem and "    80" not in raised.value.problem
    assert raised.value.next_command == "look"


def test_a_program_that_is_not_installed_is_said_so() -> None:
    with pytest.raises(EnvironmentFailure, match="no-such-program is not installed"):
        command.run(["no-such-program"], what="fetching")


def test_a_full_disk_under_a_program_is_said_in_so_many_words_and_not_tried_again() -> None:
    script = "echo cp: error writing x: No space left on device; exit 1"
    with pytest.raises(EnvironmentFailure, match="since the disk is full") as raised:
        command.run(["sh", "-c", script], what="unpacking", tries=3)
    assert raised.value.allowed and "LAB_CACHE" in raised.value.allowed


def test_a_step_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.time, "sleep", lambda seconds: None)
    script = f"echo done; mkdir {tmp_path}/left && exit 1; exit 0"
    with pytest.raises(EnvironmentFailure):
        command.run(["sh", "-c", f"mkdir {tmp_path}/left; exit 1"], what="x", tries=1)
    (tmp_path / "left").rmdir()
    assert command.run(["sh", "-c", script], what="x", tries=2)


def test_every_line_is_seen_as_it_comes() -> None:
    seen: list[str] = []
    command.run(["printf", "a\\nb\\n"], what="x", on_line=seen.append)
    assert seen == ["a\n", "b\n"]


STOPPABLE = """
import os, signal, sys, threading
from testbed.setup import children
FOREVER = {forever!r}
seen = []

def work(outlasts, up):
    try:
        with children.started(FOREVER, stdout=-1, outlasts=outlasts) as child:
            child.stdout.readline()
            up.set()
            child.wait()
    except KeyboardInterrupt:
        seen.append(outlasts)

def start(outlasts):
    up = threading.Event()
    thread = threading.Thread(target=work, args=(outlasts, up))
    thread.start()
    up.wait()
    return thread

with children.stoppable(lambda: seen.append("told")):
    first, second = start(False), start(True)
    os.kill(os.getpid(), signal.SIGINT)
    first.join()
    assert sorted(map(str, seen)) == ["False", "told"] and children.stopped(), seen
    with children.started(["true"], outlasts=True) as child:
        child.wait()
    try:
        with children.started(["true"]):
            raise AssertionError("work began")
    except KeyboardInterrupt:
        pass
    try:
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second one is as anywhere else")
    except KeyboardInterrupt:
        children.end_all()
    second.join()
assert seen[-1] is True and not children.stopped()
"""


def test_the_first_ctrl_c_ends_the_work_alone_and_the_second_is_as_anywhere_else() -> None:
    subprocess.run([sys.executable, "-c", STOPPABLE.replace("{forever!r}", repr(FOREVER))], cwd=PROJECT, check=True)
