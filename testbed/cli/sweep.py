"""`lab sweep`: runs an experiment over many factors, resumable, here or on many machines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.analysis.absent import ABSENT, LEGEND, NEVER

if TYPE_CHECKING:
    from testbed.runner.execute import Outcome
    from testbed.runner.experiment import Span
    from testbed.runner.sweep import Progress, Swept


def register(app: typer.Typer) -> None:
    @app.command()
    def sweep(
        file: Annotated[Path, typer.Argument(help="a sweep file, such as experiments/sweeps/storm_by_size.yaml")],
        out: Annotated[Path | None, typer.Option(help="the folder; default: runs/sweep-NAME")] = None,
        jobs: Annotated[int | None, typer.Option(min=1, max=1024, help="guests at a time; default: one a core")] = None,
        scheduler: Annotated[str, typer.Option(help="a Dask scheduler, tcp://host:port, instead of this machine")] = "",
        dry: Annotated[bool, typer.Option("--dry-run", help="only print the number of runs")] = False,
        as_json: Annotated[
            bool, typer.Option("--json", help="print one line of machine-readable JSON at the end")
        ] = False,
    ) -> None:
        """Play every combination of the file's factors with every seed, and write results.parquet, one row for each
        run.

        You can stop it at any time and in any way: the same command continues where it stopped. Exit code 1 when runs
        failed. Failed runs are in failed/ and in failures.jsonl, and are tried again the next time.
        """
        from testbed.runner import remote, sweepfile
        from testbed.runner import sweep as sweeping
        from testbed.runner.execute import refuse_file
        from testbed.setup import python_env
        from testbed.setup.all import make_all

        asked = sweepfile.read(file)
        for each in asked.cautions:
            typer.echo(each.line(), err=True)
        if dry:
            about = {"name": asked.name, "runs": len(asked.cells), "experiment": asked.experiment.name}
            text = f"{asked.name}: {len(asked.cells)} runs of {asked.experiment.name}: {', '.join(asked.factors)}"
            typer.echo(json.dumps({**about, "factors": list(asked.factors)}) if as_json else text)
            return
        folder = out or Path("runs") / f"sweep-{asked.name}"
        refuse_file(folder)
        if scheduler:
            remote.check(scheduler)
        python_env.use("sweep", *(("grid",) if scheduler else ()))
        make_all(asked.kernel)
        player = remote.dask(scheduler) if scheduler else sweeping.local(jobs or os.cpu_count() or 1)
        with progress(len(asked.cells)) as report:
            done = sweeping.play(asked, folder, player, report)
        if as_json:
            document = {"folder": str(done.folder), "done": len(done.rows), "failed": len(done.failures)}
            typer.echo(json.dumps(document))
        else:
            _print(done, asked.factors, asked.experiment.main)
        if done.failures:
            raise typer.Exit(1)


@contextmanager
def progress(count: int) -> Iterator[Progress]:
    """A progress bar with the time left on a terminal, else a line for each run; both on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from testbed.cli import run

    console = Console(stderr=True)
    if not console.is_terminal:
        yield run.Progress()
        return
    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]} failed"), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    failed = 0
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("runs", total=count, failed=0)

        def report(outcome: Outcome, done: int, _of: int) -> None:
            nonlocal failed
            failed += not outcome.done
            bar.update(task, completed=done, failed=failed)

        yield report


def _print(done: Swept, factors: Sequence[str], main: Span) -> None:
    from rich.table import Table

    from testbed.cli.console import show
    from testbed.cli.run import pace

    table = Table()
    for heading in factors:
        table.add_column(heading)
    for heading in ("n", f"{main.name}, s: median", "95 % from", "to", NEVER, "run, s", "wall, s", "× real time"):
        table.add_column(heading, justify="right")
    for levels, rows in _cells(done.rows, factors).items():
        times = [row["convergence_s"] for row in rows]
        table.add_row(*levels, str(len(rows)), *_seconds_texts(times), *pace(rows))
    show(table)
    typer.echo(f"{main.name}: from {main.since} to {main.until}")
    typer.echo(LEGEND)
    for each in done.failures:
        named = ", ".join(f"{name} {each[name]}" for name in factors)
        typer.echo(f"FAILED  {named}, seed {each['seed']}: {each['status']} ({each['folder']})")
    if done.rows:
        typer.echo(f"results {done.folder / 'results.parquet'}")


def _cells(rows: Sequence[Mapping[str, Any]], factors: Sequence[str]) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    cells: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        cells.setdefault(tuple(str(row[name]) for name in factors), []).append(row)
    return cells


def _seconds_texts(values: Sequence[float | None]) -> list[str]:
    """Median, both ends of its interval, and the number of runs in which the event never came."""
    from testbed.analysis.statistics import median_of

    known = [value for value in values if value is not None]
    never = str(len(values) - len(known))
    if not known:
        return [NEVER, ABSENT, ABSENT, never]
    median = median_of(known)
    return [ABSENT if value is None else f"{value:.2f}" for value in (median.value, median.low, median.high)] + [never]
