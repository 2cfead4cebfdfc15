"""The command that repeats a run means the same when it is read again, and two results are compared honestly."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from testbed.cli import compare
from testbed.cli.run import _option
from testbed.runner.session import Request, command_line


@pytest.mark.parametrize("value", [True, None, 5, 1.5, "all", "5", "true", ["r1-eth0"], {"a": {"b": [1]}}, "two words"])
def test_an_option_is_read_back_from_the_command_as_what_it_was(value: Any) -> None:
    words = shlex.split(command_line(Request("storm", options={"x": value}), "ring", ("lks",), (1,)))
    assert _option(words[words.index("-o") + 1]) == ("x", value)


def test_the_command_names_the_topology_that_was_the_experiments_own() -> None:
    assert "--topology abilene" in command_line(Request("storm"), "abilene", ("none", "lks"), (1, 2))


def compared(tmp_path: Path, *sides: list[float | None]) -> tuple[dict[str, Any], int]:
    """The only row, and the exit code."""
    for name, values in zip("ab", sides, strict=True):
        (tmp_path / name).mkdir()
        found = {"experiment": "storm", "keyings": {"lks": {"convergence_s": {"values": values}}}}
        (tmp_path / name / "summary.json").write_text(json.dumps(found))
    app = typer.Typer()
    compare.register(app)
    result = CliRunner().invoke(app, [str(tmp_path / "a"), str(tmp_path / "b"), "--json"])
    (row,) = json.loads(result.output)["rows"]
    return row, result.exit_code


def test_runs_that_never_converged_are_not_left_out_of_a_comparison(tmp_path: Path) -> None:
    row, code = compared(tmp_path, [10.0, 11.0, 12.0, 10.5], [10.0, None, None, 10.5])
    assert row["ratio"] is None and row["never"] == [0, 2] and row["verdict"] == "too few runs to tell" and code == 0


def test_twice_as_slow_is_a_real_difference_and_exits_with_1(tmp_path: Path) -> None:
    row, code = compared(tmp_path, [10.0, 10.1, 10.2, 10.3, 10.4], [20.0, 20.2, 20.4, 20.6, 20.8])
    assert row["ratio"]["value"] == pytest.approx(2.0) and row["ratio"]["low"] > 1
    assert row["verdict"] == "a real difference" and code == 1


def test_the_same_numbers_are_identical_and_exit_with_0(tmp_path: Path) -> None:
    row, code = compared(tmp_path, [10.0, 11.0, 12.0], [10.0, 11.0, 12.0])
    assert row["verdict"] == "identical" and row["n"] == [3, 3] and code == 0
