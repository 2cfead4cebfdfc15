"""`lab compare`: shows the differences between two results folders, and whether chance explains them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.analysis.absent import ABSENT, LEGEND, is_span, missing
from testbed.errors import InputError

if TYPE_CHECKING:
    from testbed.analysis.significance import Row


def register(app: typer.Typer) -> None:
    @app.command()
    def compare(
        first: Annotated[Path, typer.Argument(help="a results folder")],
        second: Annotated[Path, typer.Argument(help="another results folder of the same experiment")],
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable JSON")] = False,
    ) -> None:
        """Compare every measure of two results folders: the ratio of the medians with a 95 % interval (BCa bootstrap).

        A keying mode or measure that only one folder has is reported as absent. The records are read too: a record that
        is missing, or has changed since the summary was made, is reported as a flaw. Exit code 0 when no difference is
        shown, 1 when one is real, 2 for bad input.
        """
        from testbed.analysis import significance as comparing
        from testbed.record.summary import read_summary
        from testbed.runner.afresh import records

        a, b = read_summary(first), read_summary(second)
        if a["experiment"] != b["experiment"]:
            raise InputError(
                f"{a['experiment']} and {b['experiment']} are different experiments", where=str(second),
                allowed=f"results of {a['experiment']}", next_command="lab compare --help",
            )  # fmt: skip
        rows, changed = comparing.rows(a, b), comparing.provenance(a, b)
        flaws: list[InputError] = []
        same, both = comparing.same_records(*(records(side, whole, flaws) for side, whole in ((first, a), (second, b))))
        if as_json:
            document = {
                "rows": [asdict(row) for row in rows],
                "provenance": changed,
                "records": {"same": same, "of": both},
            }
            document["flaws"] = [f"{each.where}: {each.problem}" for each in flaws]
            typer.echo(json.dumps(document, indent=1))
        else:
            _print(rows, changed)
            if both:
                typer.echo(f"records  {same} of {both} are the same byte for byte")
            for each in flaws:
                typer.echo(f"flaw     {each.where}: {each.problem}")
        if any(row.verdict is comparing.Verdict.REAL for row in rows):
            raise typer.Exit(1)


def _print(rows: list[Row], changed: list[str]) -> None:
    from rich.table import Table

    from testbed.cli.console import show

    table = Table()
    for heading in ("keying", "measure", "n", "medians", "ratio", "95 % from", "to", "verdict"):
        left = heading in ("keying", "measure", "verdict")
        table.add_column(heading, justify="left" if left else "right")
    for row in rows:
        middles = " → ".join(_middle(row, side) for side in (0, 1))
        absent = "never" if is_span(row.measure) else "not measured"
        never = f"; {absent} {row.never[0]} and {row.never[1]}" if any(row.never) else ""
        table.add_row(
            row.keying, row.measure, f"{row.n[0]}, {row.n[1]}", middles, *_interval(row), f"{row.verdict}{never}"
        )
    show(table)
    typer.echo(LEGEND)
    for line in changed:
        typer.echo(f"changed  {line}")
    if not changed:
        typer.echo("changed  nothing in their origin")


def _interval(row: Row) -> list[str]:
    """The ratio, or the difference with its sign, and both ends of its interval."""
    interval = row.ratio or row.difference
    if interval is None:
        return [ABSENT] * 3
    mark = "" if row.ratio else "+ "
    ends = (ABSENT if end is None else f"{end:.3f}" for end in (interval.low, interval.high))
    return [f"{mark}{interval.value:.3f}", *ends]


def _middle(row: Row, side: int) -> str:
    middle = row.medians[side]
    if middle is not None:
        return f"{middle:g}"
    return missing(row.measure) if row.never[side] else ABSENT
