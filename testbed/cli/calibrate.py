"""`lab calibrate`: plays the same plans on the real clock and compares the numbers with those of virtual time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.analysis.absent import ABSENT, missing
from testbed.errors import InputError


def register(app: typer.Typer) -> None:
    @app.command()
    def calibrate(
        folder: Annotated[Path, typer.Argument(help="a results folder of runs in virtual time")],
        keying: Annotated[str | None, typer.Option(help="only these modes, such as none,lks")] = None,
        seeds: Annotated[
            int | None, typer.Option(min=1, help="at most this many seeds of each mode; default: all")
        ] = None,
        jobs: Annotated[int, typer.Option(min=1, help="guests at a time; more than one disturb each other")] = 1,
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable JSON")] = False,
    ) -> None:
        """Play the folder's plans again with --kernel uml and compare: real minus virtual, with a 95 % interval.

        It takes as long as the runs themselves. The result is written to calibration.json and into report.html. Exit
        code 0 whatever the difference, 3 when a run on the real clock failed.
        """
        from testbed.cli.run import Progress, modes
        from testbed.record.summary import read_summary
        from testbed.runner import calibrate as calibrating
        from testbed.runner.afresh import again
        from testbed.runner.execute import locked
        from testbed.runner.experiment import find_for_guests
        from testbed.setup.all import make_all
        from testbed.setup.progress import say

        summary = read_summary(folder)
        experiment = find_for_guests(summary.get("source") or summary["experiment"])
        flaws: list[InputError] = []
        chosen = calibrating.plans(folder, modes(keying), seeds, flaws)
        for flaw in flaws:
            say(f"{flaw.where}: {flaw.problem}")
        needed = sum(plan.duration_s for plan in chosen.values()) / jobs / 60
        typer.echo(f"{len(chosen)} runs on the real clock, at least {needed:.0f} minutes", err=True)
        make_all("uml")
        with locked(folder):
            rows = calibrating.calibrate(experiment, chosen, folder, jobs, Progress())
            (folder / calibrating.FILE).write_text(json.dumps(rows, indent=1) + "\n")
        again(folder)
        if as_json:
            typer.echo(json.dumps(rows, indent=1))
            return
        for row in rows:
            typer.echo(row_text(row))


def row_text(row: dict[str, Any]) -> str:
    """One measure, as a line of text."""
    head = f"{row['keying']:14} {row['measure']:34} n {row['n'][0]}, {row['n'][1]}: "
    if row["difference"] is None:
        middles = [_middle(row, number, side) for number, side in enumerate(("virtual", "real"))]
        return head + f"virtual {middles[0]}, real {middles[1]}; not every run has a number"
    interval = "" if row["low"] is None else f" (95 %: {row['low']:+.3f} to {row['high']:+.3f})"
    verdict = {True: "differs", False: "no difference shown", None: "too few runs to tell"}[row["differs"]]
    return head + f"virtual {row['virtual']:.3f}, real {row['difference']:+.3f}{interval}: {verdict}"


def _middle(row: dict[str, Any], number: int, side: str) -> str:
    if row[side] is not None:
        return f"{row[side]:.3f}"
    return missing(row["measure"]) if row["n"][number] else ABSENT
