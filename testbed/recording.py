"""Types the commands of a document again and puts what they print below them: a recording that stays true.

    python -m testbed.recording docs/first-half-hour.md            write the output of all blocks anew
    python -m testbed.recording docs/first-half-hour.md --check    exit code 1 where a block that repeats would change

A block of commands is fenced as `console`, and the comment above it says how it is recorded: `here` (needs no guest),
`virtual` (boots guests in virtual time), `clock` (depends on the real clock or on the machine: written, never
compared). A command begins with `$ ` and may go on in lines that begin with `> `; blocks share one folder and one
shell. Knows nothing of what the commands do.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.setup.paths import PROJECT

KINDS = ("here", "virtual", "clock")
_BLOCK = re.compile(r"<!-- recorded: (?P<kind>\w+) -->\n```console\n(?P<text>.*?)```\n", re.DOTALL)
_END = "--- end of a recorded command ---"
_TIMES = (
    (re.compile(r"in \d+(\.\d+)? s of wall time, \d+(\.\d+)? × real time"), "in … s of wall time, … × real time"),
    (re.compile(r"in \d+(\.\d+)? s(; so far [^;]*)?; about \d+ s left"), r"in … s\2; about … s left"),
    (re.compile(r"(time[= ])\d+(\.\d+)? ?ms"), r"\1… ms"),
    (re.compile(r"rtt min/avg/max/mdev = .*"), "rtt min/avg/max/mdev = … ms"),
    (re.compile(r"commit \w{7,40}\+?"), "commit …"),
)  # fmt: skip
"""The parts of an output that the machine decides, not the command."""


@dataclass(frozen=True)
class Block:
    """One block of a document; `commands` are (as typed, as shown in the document, its output)."""

    kind: str
    commands: tuple[tuple[str, str, str], ...]


def blocks(text: str) -> list[Block]:
    """The blocks of a document. ValueError for an unknown kind."""
    listed = []
    for each in _BLOCK.finditer(text):
        if each["kind"] not in KINDS:
            raise ValueError(f"{each['kind']!r} is no kind of block: {', '.join(KINDS)}")
        listed.append(Block(each["kind"], tuple(_commands(each["text"]))))
    return listed


def _commands(text: str) -> Iterator[tuple[str, str, str]]:
    for part in re.split(r"^(?=\$ )", text, flags=re.MULTILINE):
        lines = part.splitlines(keepends=True)
        if not lines:
            continue
        typed = [lines[0][2:]]
        while len(typed) < len(lines) and lines[len(typed)].startswith("> "):
            typed.append(lines[len(typed)][2:])
        yield "".join(typed), "".join(lines[: len(typed)]), "".join(lines[len(typed) :])


@contextmanager
def shell() -> Iterator[subprocess.Popen[str]]:
    """A shell in a folder of its own, in which `lab`, `policy`, `dks` and `lks` are this checkout's."""
    with tempfile.TemporaryDirectory(prefix="lab-recording-") as name:
        folder, programs = Path(name) / "desk", Path(name) / "bin"
        folder.mkdir()
        programs.mkdir()
        for program, module in (
            ("lab", "testbed.cli"), ("policy", "agents.policy"), ("dks", "agents.dks"), ("lks", "agents.lks"),
        ):  # fmt: skip
            (programs / program).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
            (programs / program).chmod(0o755)
        environment = {
            **os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(PROJECT), "COLUMNS": "100",
            "NO_COLOR": "1", "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        environment.pop("POLICY_STORE", None)
        with subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            yield process
            assert process.stdin is not None
            process.stdin.close()


def typed(process: subprocess.Popen[str], command: str) -> str:
    """The output of the shell for a command, with times replaced."""
    assert process.stdin is not None and process.stdout is not None
    # Standard input of a command is not the shell's own, which holds the commands behind it.
    process.stdin.write(f"{{ {command.rstrip()}\n}} </dev/null\nprintf '\\n%s\\n' '{_END}'\n")
    process.stdin.flush()
    lines: list[str] = []
    for line in process.stdout:
        if line.rstrip("\n") == _END:
            break
        lines.append(line)
    text = "".join(lines).removesuffix("\n")
    text = "\n".join(line.rstrip() for line in text.splitlines())
    for pattern, stand_in in _TIMES:
        text = pattern.sub(stand_in, text)
    return f"{text}\n" if text else ""


def recorded(text: str, kinds: Sequence[str] = KINDS) -> str:
    """The document with the present output of the blocks of these kinds."""
    with shell() as process:

        def again(match: re.Match[str]) -> str:
            if match["kind"] not in kinds:
                return match[0]
            output = "".join(
                typed_text + typed(process, command) for command, typed_text, _ in _commands(match["text"])
            )
            return f"<!-- recorded: {match['kind']} -->\n```console\n{output}```\n"

        return _BLOCK.sub(again, text)


def main() -> int:
    """For the command line."""
    parser = argparse.ArgumentParser(prog="testbed.recording", description=__doc__)
    parser.add_argument("document", type=Path)
    parser.add_argument("--check", action="store_true", help="compare blocks that repeat; write nothing")
    asked = parser.parse_args()
    before = asked.document.read_text(encoding="utf-8")
    now = recorded(before, KINDS[:2] if asked.check else KINDS)
    if not asked.check:
        asked.document.write_text(now, encoding="utf-8")
        return 0
    if now != before:
        print(f"{asked.document} would change: python -m testbed.recording {asked.document}", file=sys.stderr)
    return int(now != before)


if __name__ == "__main__":
    sys.exit(main())
