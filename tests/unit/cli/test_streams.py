"""The verbs with standard streams that are no terminal: pipes, full disks, nothing; JSON alone; no control codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from testbed.setup.paths import PROJECT


def lab(words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`lab` in a shell's words and redirections; 9 is a pipe that nobody reads."""
    script = f'lab() {{ {sys.executable} -m testbed.cli "$@"; }}; exec 9>&"$0"; {words}'
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            ["bash", "-c", script, str(writer)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT), **environment}, pass_fds=[writer],
        )  # fmt: skip
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("lab topology show abilene >&9", 141, ""),
        ("lab topology list --json >&9", 141, ""),
        ("lab --help >&9", 141, ""),
        ("lab validate ring:4 >&9 2>&9", 141, ""),
        ("lab validate ring:4 >/dev/full", 3, "lab: standard output cannot be written: No space left on device\n"),
        ("lab topology schema >/dev/full", 3, "lab: standard output cannot be written: No space left on device\n"),
        ("lab validate ring:4 >&- <&-", 0, ""),
        ("lab validate nowhere >&- 2>&- <&-", 2, ""),
        ("lab validate nowhere 2>/dev/full", 2, ""),
    ],
)
def test_output_that_nobody_takes_is_a_plain_end(words: str, code: int, said: str) -> None:
    done = lab(words)
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize(
    "words", ["run --json nope", "run --json", "validate --json --nope", "decode --json /nowhere", "shell --json r1"]
)
def test_with_json_an_error_is_the_one_document_on_standard_output(words: str) -> None:
    done = lab(f"lab {words}")
    assert done.returncode == 2
    assert set(json.loads(done.stdout)) == {"error"}
    assert done.stderr.startswith("lab: ")


def test_json_asked_of_a_command_in_a_node_is_none_of_ours(tmp_path: object) -> None:
    done = lab("lab shell r1 -- ip --json route", LAB_CACHE=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no laboratory is up" in done.stderr


@pytest.mark.parametrize(
    "words", ["lab --help", "lab run --help", "lab topology show areas", "lab nope 2>&1", "lab run 2>&1"]
)
@pytest.mark.parametrize("columns", ["40", "200"])
def test_there_are_no_control_codes_in_a_pipe_and_nothing_is_cut_off(words: str, columns: str) -> None:
    done = lab(words, COLUMNS=columns, TERM="xterm-256color", NO_COLOR="1")
    assert "\x1b" not in done.stdout
    assert "…" not in done.stdout
    assert "Traceback" not in done.stderr
