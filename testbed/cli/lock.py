"""`lab lock`: the locked versions of the guest and the environments, and taking the newest ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    lock = typer.Typer(help="The exact contents of guest and environments, by version and hash.", no_args_is_help=True)
    app.add_typer(lock, name="lock")

    @lock.command()
    def renew(
        measure: Annotated[
            bool, typer.Option("--measure", help="then measure the reference results again, and report the differences")
        ] = False,
        only: Annotated[
            list[str] | None, typer.Option("--only", help="of the reference results, only these folders of results/")
        ] = None,
        out: Annotated[Path | None, typer.Option(help="folder for the new measurements; default: runs/renewed")] = None,
    ) -> None:
        """Lock the newest Debian packages, wheels and kernel source of the mirrors, and list the changes.

        With --measure, every recorded command of results/ runs in the guest of the new lock, and each measure is
        compared with the reference: exit code 1 when a difference is real. results/ itself does not change.
        """
        from testbed.errors import InputError
        from testbed.setup import locks

        for name, given in (("--only", only), ("--out", out)):
            if given and not measure:
                raise InputError("selects references, but none are measured", where=name, allowed="with --measure")
        moved = locks.renew()
        for line in moved:
            typer.echo(f"moved   {line}")
        typer.echo(f"{len(moved) or 'nothing'} moved; the locks are in {locks.LOCKS}")
        if measure and _measured(only or (), out or Path("runs/renewed")):
            raise typer.Exit(1)


def _measured(only: Sequence[str], out: Path) -> bool:
    """Measure the references again and report the differences; True when one is real."""
    from testbed.analysis import significance
    from testbed.errors import InputError
    from testbed.record.summary import read_summary
    from testbed.runner import reproduce
    from testbed.setup.all import make_all

    flaws: list[InputError] = []
    asked = reproduce.recorded(only, reproduce.RESULTS, flaws)
    for flaw in flaws:
        typer.echo("\n".join(f"lab: {line}" for line in flaw.lines()), err=True)
    make_all("virtual")
    real = 0
    for name, summary in asked.items():
        typer.echo(f"{name}: {summary['command']}", err=True)
        done = reproduce.reproduce(name, summary, out / name)
        now = read_summary(out / name)
        same = sum(each.same for each in done.records)
        numbers = sum(each.same for each in done.numbers)
        typer.echo(
            f"{name}: {same} of {len(done.records)} records are the same byte for byte, {numbers} of "
            f"{len(done.numbers)} numbers"
        )
        for row in significance.rows(summary, now):
            if row.verdict is significance.Verdict.IDENTICAL:
                continue
            middles = " → ".join("never" if each is None else f"{each:g}" for each in row.medians)
            typer.echo(f"  {row.keying}: {row.measure}: {middles}: {row.verdict}")
            real += row.verdict is significance.Verdict.REAL
    typer.echo(f"{real or 'no'} difference{'' if real == 1 else 's'} {'is' if real == 1 else 'are'} real; see {out}")
    return bool(real)
