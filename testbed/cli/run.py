"""`lab run`: runs an experiment."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.analysis.absent import LEGEND
from testbed.cli.cautions import OSPF, loaded
from testbed.cli.table import multicast_of, table_of, time_of
from testbed.errors import InputError, gathered, raise_errors

if TYPE_CHECKING:
    from rich.live import Live

    from testbed.runner.execute import Outcome


def register(app: typer.Typer) -> None:
    @app.command()
    def run(
        experiment: Annotated[str, typer.Argument(help="a name in experiments/, or the path of a file of your own")],
        topology: Annotated[
            str | None, typer.Option(help="a name, a generator (ring:20), a file; default: the experiment's")
        ] = None,
        ospf: Annotated[str | None, typer.Option(help=OSPF)] = None,
        keying: Annotated[
            str | None,
            typer.Option(help="none,native,manual,central,central-mgmt,dks-lks,lks; default: the experiment's"),
        ] = None,
        seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="number of seeds, from 1 on")] = None,
        seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="this seed only")] = None,
        kernel: Annotated[str, typer.Option(help="virtual, uml or native")] = "virtual",
        jobs: Annotated[int | None, typer.Option(min=1, max=1024, help="guests at a time; default: one a core")] = None,
        out: Annotated[
            Path | None, typer.Option(help="the results folder; default: runs/EXPERIMENT-TOPOLOGY-KERNEL")
        ] = None,
        fresh: Annotated[bool, typer.Option("--fresh", help="also play runs that are already done")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="print the summary as machine-readable JSON")] = False,
        formats: Annotated[str, typer.Option(help="formats of figures, with commas: svg (always), png, pdf")] = "svg",
        option: Annotated[
            list[str] | None,
            typer.Option("-o", "--option", help="NAME=VALUE, as JSON, plain text or @FILE: captures, policy, ..."),
        ] = None,
        view: Annotated[
            bool, typer.Option("--view", help="show the runs on a page on the loopback while they are played")
        ] = False,
        port: Annotated[int, typer.Option(min=0, max=65535, help="port of that page; 0: any")] = 0,
    ) -> None:
        """Run an experiment, print its measures, and write figures and report.html.

        Each mode's first seed comes first. Ctrl-C keeps and reports the finished runs (exit code 130); a second Ctrl-C
        ends at once. The same command continues where it stopped.

        Exit code 1 when a criterion is not met, 2 for bad input, 3 when the runs could not be made.
        """
        from testbed.cli.watch import kept, watched
        from testbed.record.live import newest
        from testbed.report.style import formats_of
        from testbed.runner import execute, session
        from testbed.runner.experiment import find
        from testbed.runner.played import played
        from testbed.setup import children
        from testbed.setup.all import KERNELS, make_all

        if kernel not in KERNELS:
            raise InputError(f"unknown kernel {kernel!r}", allowed=", ".join(KERNELS))
        if seed is not None and seeds is not None:
            raise InputError("both --seed and --seeds", allowed="--seed for one, --seeds for the first N")
        wrong: list[InputError] = []
        request = session.Request(
            experiment=experiment,
            topology=topology or "",
            ospf=ospf,
            keyings=modes(keying),
            seeds=(seed,) if seed is not None else tuple(range(1, seeds + 1)) if seeds else (),
            kernel=kernel,  # type: ignore[arg-type]
            jobs=jobs or os.cpu_count() or 1,
            out=out,
            fresh=fresh,
            formats=formats_of(formats),
            options=options(option or (), wrong),
            live=view,
        )
        how = played(find(experiment))
        with gathered(wrong):
            how.prepare(request, lambda name: loaded(name if topology is None else topology, ospf))
        raise_errors(wrong)
        if how.kernel is not None:
            make_all(how.kernel)
        runs = newest(how.folder / execute.RUNS, time.time())
        with watched(view, port, runs), children.stoppable(_stopping), following(how.modes) as follower:
            done = how.play(request, follower, follower.so_far)
        if as_json:
            typer.echo(json.dumps(done.summary, indent=1))
        else:
            print_summary(done.summary, done.folder)
            _show_cost(done.summary)
            if done.summary["kernel"] in KERNELS:
                kept(done.folder)
        if "partial" in done.summary:
            raise typer.Exit(128 + signal.SIGINT)
        if problem := execute.first_problem(done.outcomes):
            raise problem
        if not done.summary["ok"]:
            raise typer.Exit(1)


def _stopping() -> None:
    typer.echo("lab: stopping: finished runs are kept, and reported now; Ctrl-C again ends at once", err=True)


def modes(keying: str | None) -> tuple[str, ...]:
    """The keying modes that `--keying` names. An empty text is an unknown mode; no option at all gives none."""
    return () if keying is None else tuple(filter(None, map(str.strip, keying.split(",")))) or (keying,)


def options(texts: Sequence[str], wrong: list[InputError]) -> dict[str, Any]:
    """NAME=VALUE words as options; `wrong` gets the words of another form, and repeated names."""
    chosen: dict[str, Any] = {}
    for each in texts:
        with gathered(wrong):
            name, value = _option(each)
            if name in chosen:
                raise InputError("is given twice", where=f"-o {name}", allowed="each option once")
            chosen[name] = value
    return chosen


def _option(text: str) -> tuple[str, Any]:
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise InputError(
            f"-o {text!r}", allowed="NAME=VALUE, the value as JSON, as plain text, or @FILE with YAML or JSON"
        )
    if value.startswith("@"):
        return name, _from_file(name, Path(value[1:]))
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value


def _from_file(name: str, path: Path) -> Any:
    from testbed.topology.read import parse, plain

    try:
        return plain(parse(path), path)
    except InputError as error:
        raise InputError(f"-o {name}: {error.problem}", where=error.where, allowed="a file of YAML or JSON") from error


class Progress:
    """Print one line on stderr for each run that ends, with its mode's numbers so far and the time left."""

    def __init__(self, modes: Sequence[str] = ()) -> None:
        self.modes, self.table = tuple(modes), dict[str, Any]()
        self._started = time.monotonic()

    def so_far(self, table: Mapping[str, Any]) -> None:
        """The table of the runs that have ended."""
        self.table = dict(table)

    def __call__(self, outcome: Outcome, done: int, of: int) -> None:
        typer.echo(self.said(outcome, done, of), err=True)
        if done == len(self.modes) < of and len(self.table.get("keyings", ())) == done:
            from testbed.cli.console import WIDTH, show, width

            show(table_of(self.table, width(errors=True) or WIDTH)[0], errors=True)

    def said(self, outcome: Outcome, done: int, of: int) -> str:
        """The line."""
        spent = time.monotonic() - self._started
        state = f"{outcome.virtual_s:.0f} s in {outcome.wall_s:.0f} s" if outcome.done else f"FAILED: {outcome.status}"
        row = self.table.get("keyings", {}).get(outcome.keying)
        median = f"; so far {time_of(row)}" if row and outcome.done else ""
        left = f"about {spent / done * (of - done):.0f} s left"
        return f"[{done}/{of}] {outcome.keying}, seed {outcome.seed}: {state}{median}; {left}"


class Filling(Progress):
    """On a terminal: a table that fills as runs end, above the line of the last run."""

    def __init__(self, modes: Sequence[str], live: Live) -> None:
        super().__init__(modes)
        self._live = live

    def __call__(self, outcome: Outcome, done: int, of: int) -> None:
        from rich.console import Group
        from rich.text import Text

        line = self.said(outcome, done, of)
        if not outcome.done:
            self._live.console.print(Text(line))  # a failure stays visible
        parts: list[Any] = [Text(line)]
        if self.table:
            parts.insert(0, table_of(self.table, self._live.console.width, self.modes)[0])
        self._live.update(Group(*parts), refresh=True)


@contextmanager
def following(modes: Sequence[str]) -> Iterator[Progress]:
    """The progress of runs on stderr: a table on a terminal, else lines."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    if not modes or not console.is_terminal or console.is_dumb_terminal or not sys.stdout.isatty():
        yield Progress(modes)
        return
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=True) as live:
        yield Filling(modes, live)


def print_summary(summary: dict[str, Any], folder: Path) -> None:
    """Print the table, the verdicts and the findings as text."""
    from testbed.cli.console import WIDTH, folded, show, width

    lines = [f"{summary['title']}: {summary['topology']}, {summary['routers']} routers, {counted(summary['seeds'])}"]
    if partial := summary.get("partial"):
        lines[0] += f"; stopped: {partial['done']} of {partial['of']} runs"
    table, left_out = table_of(summary, width() or WIDTH)
    for line in lines:
        typer.echo(folded(line))
    typer.echo()
    show(table)
    if "multicast" in summary["measured"]:
        streams, further = multicast_of(summary, width() or WIDTH)
        left_out += further
        typer.echo("\nMulticast\n")
        show(streams)
    typer.echo()
    said = legend(summary["measured"])
    if left_out:
        said.append(f"left out on this narrow terminal, in report.html: {'; '.join(left_out)}")
    for verdict in summary["criteria"]:
        mark = "ok    " if verdict["ok"] else "FAILED"
        said.append(f"{mark}  {verdict['keying']}: {verdict['text']}: {verdict['value']}")
    said += [f"found   {finding}" for finding in summary["findings"]]
    said += [f"flaw    {flaw}" for flaw in summary.get("flaws", ())]
    if summary.get("flaws") and summary["command"].startswith("./lab"):
        said.append(f"again   {summary['command']} --out {folder}: plays the missing runs, keeps the others")
    for keying in summary["keyings"]:
        played = [each for each in summary["runs"] if each["keying"] == keying and each["status"] == "done"]
        if played:
            run_s, wall_s, times = pace(played)
            said.append(f"pace    {keying}: {run_s} s in {wall_s} s of wall time, {times} × real time")
    for line in said:
        typer.echo(folded(line))
    typer.echo(f"report  {folder / 'report.html'}")


def counted(seeds: Sequence[int]) -> str:
    """The number of seeds, in words."""
    return f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'}"


def _show_cost(summary: Mapping[str, Any]) -> None:
    """Print the cost of each case on this machine; nothing for a summary without cases."""
    for label, cost in summary.get("cost", {}).items():
        typer.echo(
            f"cost    {label}: {cost['wall_s']:.0f} s, {cost['cpu_s']:.0f} s of processor time, {cost['peak_mib']} MiB"
        )


def legend(measured: Mapping[str, Any]) -> list[str]:
    """Print the meaning of a summary's headings: start and end of each number."""
    spans = [measured["main"], *([measured["multicast"]] if "multicast" in measured else [])]
    return [
        *(f"{span['name']}: from {span['since']} to {span['until']}" for span in spans),
        f"DKS requests: datagrams that reach the DKS, from {measured['requests']} to the end of the run",
        LEGEND,
    ]


def pace(runs: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
    """Medians of virtual and wall time of a run in seconds, and their ratio."""
    from statistics import median

    run_s, wall_s = (median(each[name] for each in runs) for name in ("virtual_s", "wall_s"))
    return f"{run_s:.0f}", f"{wall_s:.0f}" if wall_s >= 10 else f"{wall_s:.1f}", f"{run_s / max(wall_s, 0.01):.1f}"
