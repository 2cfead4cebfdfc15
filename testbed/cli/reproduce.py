"""`lab reproduce`: runs the commands of results/ again, and says for every number whether it is the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.errors import InputError

if TYPE_CHECKING:
    from testbed.runner.reproduce import Reproduced

SHOWN = 20


def register(app: typer.Typer) -> None:
    @app.command()
    def reproduce(
        names: Annotated[list[str] | None, typer.Argument(help="folders of results/; default: all")] = None,
        results: Annotated[Path | None, typer.Option(help="another folder of reference results")] = None,
        out: Annotated[Path, typer.Option(help="folder for the new runs, which are kept")] = Path("runs/reproduce"),
        everything: Annotated[bool, typer.Option("--all", help="also show the numbers that are the same")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable JSON")] = False,
    ) -> None:
        """Run the recorded commands of results/ again and compare every number of their summaries.

        Exit code 0 when all are the same, 1 when one differs or a summary cannot be read, 2 for bad input, 3 when a
        command could not run.
        """
        from testbed.runner import reproduce as again
        from testbed.runner.session import refuse_another
        from testbed.setup.all import make_all

        flaws: list[InputError] = []
        asked = again.recorded(names or (), results or again.RESULTS, flaws)
        for flaw in flaws:
            typer.echo("\n".join(f"lab: {line}" for line in flaw.lines()), err=True)
        for name, summary in asked.items():
            refuse_another(out / name, summary["experiment"])
        make_all("virtual")
        done = []
        for name, summary in asked.items():
            typer.echo(f"{name}: {summary['command']}", err=True)
            done.append(again.reproduce(name, summary, out / name))
            if not as_json:
                _print(done[-1], everything)
        if as_json:
            typer.echo(json.dumps([_row(each) for each in done], indent=1, default=str))
        else:
            typer.echo(total(done))
        if flaws or not all(each.same for each in done):
            raise typer.Exit(1)


def _print(done: Reproduced, everything: bool) -> None:
    same = sum(each.same for each in done.numbers)
    records = sum(each.same for each in done.records)
    typer.echo(
        f"{done.name}: {same} of {len(done.numbers)} numbers are the same, {records} of {len(done.records)} records "
        f"byte for byte; {done.wall_s / 60:.1f} min, {done.processor_s / 60:.1f} min of processor time"
    )
    differ = [each for each in done.numbers if not each.same]
    numbers = done.numbers if everything else differ[:SHOWN]
    for each in numbers:
        typer.echo(f"  {'same    ' if each.same else 'DIFFERS '} {each}")
    if len(differ) > len(numbers):
        typer.echo(f"  and {len(differ) - len(numbers)} more; --all shows them")
    if differ or everything:
        for line in done.changed:
            typer.echo(f"  different origin: {line}")


def total(done: Sequence[Reproduced]) -> str:
    """One line for all folders together."""
    if not done:
        return "there are no reference results"
    numbers = [number for each in done for number in each.numbers]
    wall_s, processor_s = (sum(getattr(each, name) for each in done) for name in ("wall_s", "processor_s"))
    return (
        f"{len(done)} folders: {sum(each.same for each in numbers)} of {len(numbers)} numbers are the same; "
        f"{wall_s / 60:.1f} min, {processor_s / 60:.1f} min of processor time"
    )


def _row(done: Reproduced) -> dict[str, Any]:
    return {
        "name": done.name,
        "command": done.command,
        "same": done.same,
        "numbers": [
            {"place": each.place, "same": each.same, "recorded": each.recorded, "now": each.now}
            for each in done.numbers
        ],
        "records_same": sum(each.same for each in done.records),
        "records": len(done.records),
        "changed": list(done.changed),
        "wall_s": round(done.wall_s, 1),
        "processor_s": round(done.processor_s, 1),
    }
