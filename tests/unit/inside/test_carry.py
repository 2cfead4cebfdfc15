"""Commands whose input and output are files of the control channel: ends of input, exit codes, slow readers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.attach.channel import MAX_UNREAD, Stream, put
from testbed.inside.carry import carry, with_pipes
from testbed.setup.paths import PROJECT

HOST = """
import sys
from pathlib import Path
from agents.runtime import stdio
from testbed.attach.running import Running
def write(data):
    sys.stdout.buffer.write(data); sys.stdout.buffer.flush()
folder = Path(sys.argv[1])
stdio.run("host", lambda: Running(folder).converse(write, (folder / "over").exists) or 0)
"""


def carried(
    folder: Path, *argv: str, given: bytes = b"", before: Callable[[], None] = lambda: None
) -> tuple[int, str, str]:
    """Exit code, output and errors of a command that is given its whole input beforehand."""
    sent = Stream(folder, "in")
    if given:
        sent.write(given)
    sent.close()
    before()
    code = asyncio.run(carry(with_pipes(argv), folder))
    assert (folder / "end").read_bytes() == str(code).encode()
    return code, Stream(folder, "out").read().decode(), Stream(folder, "err").read().decode()


def test_input_goes_in_and_output_and_errors_come_out_apart(tmp_path: Path) -> None:
    assert carried(tmp_path, "sh", given=b"echo said; echo wrong >&2; exit 7\n") == (7, "said\n", "wrong\n")


def test_the_end_of_the_input_is_the_end_of_who_reads_it(tmp_path: Path) -> None:
    assert carried(tmp_path, "cat", given=b"all of it") == (0, "all of it", "")
    assert carried(tmp_path, "cat") == (0, "", "")


def test_a_command_ended_by_a_signal_leaves_as_in_a_shell(tmp_path: Path) -> None:
    assert carried(tmp_path, "sh", "-c", "kill -9 $$")[0] == 137


def test_a_command_that_reads_nothing_holds_nobody_up(tmp_path: Path) -> None:
    assert carried(tmp_path, "true", given=bytes(1 << 20))[0] == 0


def test_what_runs_on_in_the_background_does_not_keep_a_command_open(tmp_path: Path) -> None:
    code, said, _ = carried(tmp_path, "sh", "-c", "sleep 60 & echo $!")
    os.kill(int(said), 9)
    assert code == 0


def test_a_program_sees_no_terminal_and_is_told_to_use_no_colours(tmp_path: Path) -> None:
    code, said, _ = carried(tmp_path, "sh", "-c", "test -t 0 || test -t 1 || echo $TERM $NO_COLOR; ls --color=auto /")
    assert (code, said.splitlines()[0]) == (0, "dumb 1")
    assert "\x1b" not in said


def test_a_command_that_is_asked_to_stop_ends_even_when_it_will_not(tmp_path: Path) -> None:
    stop = lambda: put(tmp_path / "stop", b"")  # noqa: E731
    code, _said, _ = carried(tmp_path, "sh", "-c", "trap '' HUP; while :; do :; done", before=stop)
    assert code in (129, 137)  # 129 when it was stopped before it had begun to listen


def test_no_more_waits_for_a_slow_reader_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[int] = []
    reader, sleep = Stream(tmp_path, "out"), asyncio.sleep

    async def look(_seconds: float) -> None:
        """In place of every pause of `carry`."""
        there.append(sum(name.startswith("out.") for name in os.listdir(tmp_path)))
        if there.count(MAX_UNREAD) == 50:
            put(tmp_path / "stop", b"")
        if there.count(MAX_UNREAD) >= 50:
            reader.read()
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", look)
    assert asyncio.run(carry(with_pipes(["yes"]), tmp_path)) == 129
    assert max(there) == MAX_UNREAD


@pytest.mark.parametrize(
    ("command", "given", "code", "said"),
    [
        (["cat"], "one\ntwo\n", 0, "one\ntwo\n"),
        (["cat"], "", 0, ""),
        (["sh", "-c", "exit 3"], "nobody reads this", 0, ""),
        (["seq", "40000"], "", 0, "".join(f"{each}\n" for each in range(1, 40001))),
    ],
)
def test_the_hosts_streams_are_those_of_a_prompt_without_a_terminal(
    tmp_path: Path, command: list[str], given: str, code: int, said: str
) -> None:
    console = tmp_path / "control" / "streams" / "console"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    words = [sys.executable, "-m", "testbed.inside.carry", str(console), *command]
    guest = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL)
    host = subprocess.run(
        [sys.executable, "-c", HOST, str(tmp_path)], input=given, env=environment, capture_output=True, text=True
    )
    guest.wait()
    assert (host.returncode, host.stdout, host.stderr) == (code, said, "")


def test_a_host_whose_reader_has_gone_ends_quietly_though_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "control" / "streams").mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    reader, writer = os.pipe()
    os.close(reader)
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(tmp_path)],
        env=environment, stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writer)
    assert host.stderr is not None
    assert host.stderr.read() == b""
    assert host.wait() == 141
