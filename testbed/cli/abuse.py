"""`lab abuse`: ends the laboratory's own commands at random moments."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def abuse(
        times: Annotated[int, typer.Option("--times", min=1, max=100_000, help="number of commands to end")] = 20,
        seed: Annotated[int, typer.Option("--seed", min=0, help="seed for commands, moments and ways")] = 1,
        prove_every: Annotated[
            int, typer.Option("--prove-every", min=1, help="after this many, let the commands run to their end")
        ] = 20,
    ) -> None:
        """End set-ups, runs, sweeps and clean-ups at random moments: kill -9, Ctrl-C twice, two at once, a full disk.

        Exit code 1 when a command hung, left something behind, or the next command did not work. A full disk needs
        root. No other laboratory may create or remove interfaces meanwhile.
        """
        from testbed.abuse.campaign import Abuse, deeds
        from testbed.setup.all import make_all

        make_all("virtual")
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="lab-abuse-") as name:
            work = Abuse(Path(name), prove_every, typer.echo)
            findings = work.do(deeds(seed, times, root=os.geteuid() == 0))
            left = sum(each.stat().st_size for each in (Path(name) / "tmp").rglob("*") if each.is_file())
        for way, count in sorted(findings.deeds.items()):
            typer.echo(f"{count:5} {way}")
        if findings.missed:
            typer.echo(f"{findings.missed:5} ended before they could be stopped, and are not counted")
        typer.echo(
            f"{findings.deeds.total()} deeds, {findings.proofs} commands to their end, {len(findings.wrong)} wrong, "
            f"{left / 1024:.0f} KiB of temporary files left, {time.monotonic() - began:.0f} s"
        )
        if findings.wrong:
            for each in findings.wrong:
                typer.echo(f"wrong: {each}")
            raise typer.Exit(1)
