"""What programs do whose standard streams are pipes, full disks, or closed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from agents.runtime import stdio
def main():
    try:
        for _ in range(2000):
            print("a line that fills more than one buffer and more than one pipe " * 2)
        sys.stdout.flush()
    except OSError:
        return 99  # a handler for files of its own: not for standard output
    print("on it goes", file=sys.stderr)
    return 0
stdio.run("program", main)
"""


def started(script: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script], text=True, env={**os.environ}, **options)  # type: ignore[call-overload,no-any-return]


def test_a_reader_that_goes_ends_the_program_with_141_and_without_a_word() -> None:
    program = started(PROGRAM, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None and program.stderr is not None
    assert program.stdout.readline().startswith("a line")
    program.stdout.close()
    assert program.stderr.read() == ""
    assert program.wait() == 141


def test_a_full_disk_is_one_line_and_exit_code_3() -> None:
    with open("/dev/full", "w") as full:
        program = started(PROGRAM, stdout=full, stderr=subprocess.PIPE)
        _out, err = program.communicate()
    assert err == "program: standard output cannot be written: No space left on device\n"
    assert program.returncode == 3


def test_what_fits_into_the_buffer_fails_at_the_end_and_no_later() -> None:
    with open("/dev/full", "w") as full:
        program = started(
            "from agents.runtime import stdio; stdio.run('program', lambda: print('one line') or 0)",
            stdout=full, stderr=subprocess.PIPE,
        )  # fmt: skip
        _out, err = program.communicate()
    assert (program.returncode, err.count("\n")) == (3, 1)


def test_nobody_reading_the_messages_is_not_the_end_of_the_work() -> None:
    with open("/dev/full", "w") as full:
        program = started(PROGRAM, stdout=subprocess.PIPE, stderr=full)
        out, _err = program.communicate()
    assert program.returncode == 0
    assert out.count("\n") == 2000


@pytest.mark.parametrize("redirected", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_taken_by_no_file_that_is_opened_later(tmp_path: Path, redirected: str) -> None:
    script = f"""
import sys
from agents.runtime import stdio
def main():
    found = open({str(tmp_path / "found")!r}, "w")
    print("for standard output"); print("for standard error", file=sys.stderr)
    found.write(f"{{found.fileno() > 2}} {{sys.stdin.read()!r}}")
    return 0
stdio.run("program", main)
"""
    command = f'{sys.executable} -c "$0" {redirected}'
    done = subprocess.run(["sh", "-c", command, script], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stderr.replace("for standard error\n", "")) == (0, "")
    assert (tmp_path / "found").read_text() == "True ''"


def test_a_character_that_the_locale_lacks_is_no_error() -> None:
    script = "from agents.runtime import stdio; stdio.run('program', lambda: print('7 → 8') or 0)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=True
    )
    assert done.stdout == b"7 ? 8\n"


@pytest.mark.parametrize("program", ["dks", "lks", "policy"])
@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        (">/dev/full", 3, "{}: standard output cannot be written: No space left on device\n"),
        (">&- <&-", 0, ""),
        (">&$0", 141, ""),
    ],
)
def test_the_agents_programs_answer_for_their_output(program: str, redirected: str, code: int, said: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m agents.{program} --help {redirected}", str(writer)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, pass_fds=[writer],
        )  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (code, said.format(program))


@pytest.mark.parametrize(
    "words",
    [
        "agents.dks run --config /dev/zero",
        "agents.lks run --config /dev/zero",
        "agents.policy verify /dev/zero --domain example --key /dev/zero",
        "agents.policy rollback 99999999999999999999",
    ],
)
def test_a_file_or_a_number_without_end_is_bad_input(words: str) -> None:
    done = subprocess.run([sys.executable, "-m", *words.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 3
