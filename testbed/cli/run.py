"""`lab run`: ask the laboratory a question."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.analysis.words import ABSENT, LEGEND, NEVER, is_span, missing
from testbed.errors import InputError, gathered, refuse

if TYPE_CHECKING:
    from rich.table import Table

    from testbed.runner.execute import Outcome


def register(app: typer.Typer) -> None:
    @app.command()
    def run(
        experiment: Annotated[str, typer.Argument(help="a name in experiments/, or the path of a file of your own")],
        topology: Annotated[
            str | None, typer.Option(help="a name, a generator (ring:20), a file; default: the experiment's")
        ] = None,
        keying: Annotated[
            str | None,
            typer.Option(help="none,native,manual,central,central-mgmt,dks-lks,lks; default: the experiment's"),
        ] = None,
        seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="how many seeds, from 1 on")] = None,
        seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="just this seed")] = None,
        kernel: Annotated[str, typer.Option(help="virtual, uml or native")] = "virtual",
        jobs: Annotated[int | None, typer.Option(min=1, max=1024, help="guests at a time; default: one a core")] = None,
        out: Annotated[
            Path | None, typer.Option(help="the results folder; default: runs/EXPERIMENT-TOPOLOGY-KERNEL")
        ] = None,
        fresh: Annotated[bool, typer.Option("--fresh", help="do again what is already done")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="print the summary for a program")] = False,
        option: Annotated[
            list[str] | None,
            typer.Option("-o", "--option", help="NAME=VALUE, as JSON, plain text or @FILE: captures, policy, ..."),
        ] = None,
    ) -> None:
        """Run an experiment, print what was measured, and write figures and report.html.

        Exit code 1 when something that must hold does not, 2 for bad input, 3 when the runs could not be made.
        """
        from testbed.cli.cautions import loaded
        from testbed.runner import execute, session, simulated
        from testbed.runner.experiment import find
        from testbed.setup.all import KERNELS, make_all

        if kernel not in KERNELS:
            raise InputError(f"unknown kernel {kernel!r}", allowed=", ".join(KERNELS))
        if seed is not None and seeds is not None:
            raise InputError("both --seed and --seeds", allowed="--seed for one, --seeds for the first so many")
        wrong: list[InputError] = []
        request = session.Request(
            experiment=experiment,
            topology=topology or "",
            keyings=modes(keying),
            seeds=(seed,) if seed is not None else tuple(range(1, seeds + 1)) if seeds else (),
            kernel=kernel,  # type: ignore[arg-type]
            jobs=jobs or os.cpu_count() or 1,
            out=out,
            fresh=fresh,
            options=options(option or (), wrong),
        )
        found = find(experiment)
        if isinstance(found, simulated.Simulated):
            refuse(wrong)
            done = simulated.run(found, request, Progress())
        else:
            network = loaded(found.topology if topology is None else topology)
            session.refuse_another(session.folder_of(request, found.name, network.name), found.name)
            with gathered(wrong):
                prepared = session.prepare(found, request, network)
            refuse(wrong)
            make_all(kernel)
            done = session.run(request, Progress(), prepared)
        if as_json:
            typer.echo(json.dumps(done.summary, indent=1))
        else:
            print_summary(done.summary, done.folder)
            _show_cost(done.summary)
        if problem := execute.first_problem(done.outcomes):
            raise problem
        if not done.summary["ok"]:
            raise typer.Exit(1)


def modes(keying: str | None) -> tuple[str, ...]:
    """The keying modes that `--keying` names; an empty text is one that there is not, and no option at all none."""
    return () if keying is None else tuple(filter(None, map(str.strip, keying.split(",")))) or (keying,)


def options(texts: Sequence[str], wrong: list[InputError]) -> dict[str, Any]:
    """NAME=VALUE words as options; `wrong` gets what is no such word, or stands twice."""
    found: dict[str, Any] = {}
    for each in texts:
        with gathered(wrong):
            name, value = _option(each)
            if name in found:
                raise InputError("stands twice", where=f"-o {name}", allowed="each option once")
            found[name] = value
    return found


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
    """One line on stderr for each run that ends, with the time left."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, outcome: Outcome, done: int, of: int) -> None:
        spent = time.monotonic() - self._started
        left = spent / done * (of - done)
        state = f"{outcome.virtual_s:.0f} s in {outcome.wall_s:.0f} s" if outcome.done else f"FAILED: {outcome.status}"
        typer.echo(f"[{done}/{of}] {outcome.keying}, seed {outcome.seed}: {state}; about {left:.0f} s left", err=True)


def print_summary(summary: dict[str, Any], folder: Path) -> None:
    """The table, the verdicts and the findings, for a person."""
    from rich.table import Table

    from testbed.cli.shown import show

    measured = summary["measured"]
    table = Table(
        title=f"{summary['title']}: {summary['topology']}, {summary['routers']} routers, {len(summary['seeds'])} seeds"
    )
    for heading in (
        "keying",
        "n",
        f"{measured['main']['name']}, s\nmedian (95 %)",
        "× none",
        measured["restored"],
        "DKS requests\nmedian",
        "DKS requests in the\nfirst 60 s of power",
        "DKS requests before\nfirst scheduled",
    ):
        table.add_column(heading, justify="left" if heading == "keying" else "right")
    for name, row in summary["keyings"].items():
        table.add_row(name, *_cells(row))
    show(table)
    if "multicast" in measured:
        show(multicast(summary))
    for line in legend(measured):
        typer.echo(line)
    for verdict in summary["criteria"]:
        mark = "ok    " if verdict["ok"] else "FAILED"
        typer.echo(f"{mark}  {verdict['keying']}: {verdict['text']}: {verdict['value']}")
    for finding in summary["findings"]:
        typer.echo(f"found   {finding}")
    for flaw in summary.get("flaws", ()):
        typer.echo(f"flaw    {flaw}")
    for keying in summary["keyings"]:
        played = [each for each in summary["runs"] if each["keying"] == keying and each["status"] == "done"]
        if played:
            run_s, wall_s, times = pace(played)
            typer.echo(f"pace    {keying}: {run_s} s in {wall_s} s of wall time, {times} × real time")
    typer.echo(f"report  {folder / 'report.html'}")


def multicast(summary: dict[str, Any]) -> Table:
    """The table of the multicast streams, for a person."""
    from rich.table import Table

    from testbed.analysis.multicast import DUPLICATED, LOST, REGISTERS, TREES

    hears = summary["measured"]["multicast"]["name"]
    begin = hears.split(" to ")[0]
    table, further = Table(title="Multicast"), (f"{begin}{TREES}", f"{begin}{REGISTERS}", LOST, DUPLICATED)
    for heading in ("keying", f"{hears}, s\nmedian (95 %)", "× none", *(f"{name}\nmedian" for name in further)):
        table.add_column(heading, justify="left" if heading == "keying" else "right")
    for keying, row in summary["keyings"].items():
        if "multicast" in row:
            cells = [_time(row["multicast"]["heard_s"]), _ratio(row["multicast"])]
            table.add_row(keying, *cells, *(_middle(name, row["extra"].get(name, [])) for name in further))
    return table


def _show_cost(summary: Mapping[str, Any]) -> None:
    """What each case took on this machine, for a person; nothing for a summary without cases."""
    for label, cost in summary.get("cost", {}).items():
        typer.echo(
            f"cost    {label}: {cost['wall_s']:.0f} s, {cost['cpu_s']:.0f} s of a processor, {cost['peak_mib']} MiB"
        )


def legend(measured: Mapping[str, Any]) -> list[str]:
    """What the headings of a summary's table mean: from what to what each number is."""
    spans = [measured["main"], *([measured["multicast"]] if "multicast" in measured else [])]
    return [
        *(f"{span['name']}: from {span['since']} to {span['until']}" for span in spans),
        f"DKS requests: datagrams that reach the DKS, from {measured['requests']} to the end of the run",
        LEGEND,
    ]


def pace(runs: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
    """Medians of the runs' own time and of the wall's in seconds, and how many times faster than real time that is."""
    from statistics import median

    run_s, wall_s = (median(each[name] for each in runs) for name in ("virtual_s", "wall_s"))
    return f"{run_s:.0f}", f"{wall_s:.0f}" if wall_s >= 10 else f"{wall_s:.1f}", f"{run_s / max(wall_s, 0.01):.1f}"


def _cells(row: dict[str, Any]) -> list[str]:
    from statistics import median

    asked = row["dks_requests"]
    restored = row["adjacencies"]["restored"]
    total, early = (
        [value for value in asked[name] if value is not None]
        for name in ("total", "before_first_scheduled_reconnection")
    )
    return [
        f"{row['n']}",
        _time(row["convergence_s"]),
        _ratio(row),
        f"{min(restored)} of {row['adjacencies']['expected']}" if restored else ABSENT,
        f"{median(total):g}" if total else ABSENT,
        ABSENT if "requests_first_60s" not in row else f"{row['requests_first_60s']['median']:g}",
        f"{max(early)}" if early else ABSENT,
    ]


def _time(spread: Mapping[str, Any]) -> str:
    if spread["median"] is None:
        return NEVER if spread["values"] else ABSENT
    never = sum(value is None for value in spread["values"])
    return f"{spread['median']:.2f}{_between(spread['low'], spread['high'])}" + (f", {never} never" if never else "")


def _ratio(row: Mapping[str, Any]) -> str:
    return ABSENT if row["ratio_to_none"] is None else f"{row['ratio_to_none']:.3f}"


def _middle(series: str, values: Sequence[float | None]) -> str:
    from statistics import median

    known = [value for value in values if value is not None]
    if not known:
        return missing(series) if values else ABSENT
    never = len(values) - len(known)
    return f"{median(known):.2f}".removesuffix(".00") + (f", {never} never" if never and is_span(series) else "")


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
