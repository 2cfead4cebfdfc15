"""The table: verb × kind of bad input × exit code × text, in tests/errors/typed/*.txt, a file for each verb.

A row is three parts: `# the kind`, `$ the command line`, and `→ the exit code` with what stands on standard error.
To add one, write the first two and run `PYTHONPATH=. python tests/unit/typed/golden.py`, which writes the rest of every
row anew; then read the difference. ROOT stands for the folder of the test, PROJECT for the checkout, and
EXPERIMENTS for the names of all experiments.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

from testbed.runner import experiment
from tests.unit.typed import house
from tests.unit.typed.desk import laid

FOLDER = Path(__file__).parents[2] / "errors" / "typed"
PROJECT = Path(__file__).parents[3]
PROGRAMS = ("lab", "policy", "dks", "lks")


class Row(NamedTuple):
    """One line of the table. `told` is the exit code and the text, as the file has it."""

    file: str
    kind: str
    words: tuple[str, ...]
    told: str

    @property
    def name(self) -> str:
        """What a test calls it."""
        return f"{' '.join(self.words)[:60]} ({self.kind})"


def rows() -> list[Row]:
    """All of them, file by file."""
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        kind, words, told = "", (), ""
        for line in [*path.read_text().splitlines(keepends=True), "# end\n"]:
            if line.startswith("# "):
                if words:
                    found.append(Row(path.name, kind, words, told.rstrip() + "\n"))
                kind, words, told = line[2:].strip(), (), ""
            elif line.startswith("$ "):
                words = tuple(shlex.split(line[2:]))
            else:
                told += line
    return found


def tried(row: Row, root: Path) -> str:
    """What comes of it now, as the file would have it."""
    with laid(root) as _at, house.shut(root):
        done = house.typed(row.words[0], row.words[1:])
    wrong = house.well_said(row.words[0], done)
    assert not wrong, f"{shlex.join(row.words)}: {wrong}\n{done.err}"
    assert house.refused == [], house.refused
    shown = done.err.replace(str(root), "ROOT").replace(str(PROJECT), "PROJECT").rstrip()
    shown = shown.replace(", ".join(experiment.names()), "EXPERIMENTS")
    return f"→ {done.code}\n{shown}".rstrip() + "\n"


def _write() -> None:
    texts: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for row in rows():
            try:
                told = tried(row, Path(folder) / "root")
            except Exception as error:  # a traceback, or words of no form: the row stays as it is, and fails
                traceback.print_exception(error, limit=-3)
                told = row.told
            texts[row.file] = texts.get(row.file, "") + f"# {row.kind}\n$ {shlex.join(row.words)}\n{told}\n"
    for name, text in texts.items():
        (FOLDER / name).write_text(text.rstrip() + "\n")


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    _write()
