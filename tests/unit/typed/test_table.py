"""Every verb of every program tells bad input: the exit code and the words of each kind stand in a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.unit.typed.golden import PROGRAMS, Row, rows, tried

ROWS = rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_bad_input_is_told_as_the_table_says(row: Row, root: Path) -> None:
    assert tried(row, root) == row.told, "run PYTHONPATH=. python tests/unit/typed/golden.py, and read the difference"


def commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, and the words that lead to it."""
    if (below := getattr(command, "commands", None)) is None:
        yield path, command
    else:
        for name, each in below.items():
            yield from commands(each, (*path, name))


def every() -> dict[tuple[str, ...], Any]:
    """The commands of all four programs; of those without subcommands of click the words alone."""
    from agents.policy.cli import app
    from testbed.cli.main import registered

    found = {
        **dict(commands(typer.main.get_command(registered()), ("lab",))),
        **dict(commands(typer.main.get_command(app), ("policy",))),
    }
    for program, words in (
        ("dks", ("run", "status", "metrics", "events", "confirmations", "rekey")),
        ("lks", ("run", "status", "events", "rekey", "accept", "revocation")),
    ):
        found |= {(program, word): None for word in words}
    return found


EVERY = every()


def _leads_to(row: Row) -> tuple[str, ...]:
    """The command that a row is of: options in front of it, such as --store, left out."""
    words = [word for word in row.words]
    while len(words) > 2 and words[1].startswith("--"):
        del words[1:3]
    return next((path for path in EVERY if tuple(words[: len(path)]) == path), tuple(words[:1]))


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_command_has_rows_of_two_kinds_at_least(path: tuple[str, ...]) -> None:
    kinds = {row.kind for row in ROWS if _leads_to(row) == path}
    assert len(kinds) >= 2, f"{' '.join(path)}: {sorted(kinds)}; see golden.py"


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_with_a_value_has_a_row(program: str) -> None:
    """What takes a value can be given a wrong one; a row says what comes of it."""
    lacking = []
    for path, command in EVERY.items():
        if path[0] != program or command is None:
            continue
        words = [word for row in ROWS if _leads_to(row) == path for word in row.words]
        for each in command.params:
            valued = each.param_type_name == "option" and not each.is_flag and each.name not in ("help", "json")
            if valued and not set(each.opts) & set(words):
                lacking.append(f"{' '.join(path)} {each.opts[-1]}")
    assert lacking == []


def test_every_exit_code_of_bad_input_is_one_that_means_it() -> None:
    assert {row.told.split()[1] for row in ROWS} <= {"0", "1", "2", "3"}
