"""`lab soak`: runs the agents under a seeded adversary."""

from __future__ import annotations

import time
from collections import Counter
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def soak(
        seeds: Annotated[int, typer.Option("--seeds", min=1, help="number of seeds, from --seed on")] = 20,
        minutes: Annotated[
            float, typer.Option("--minutes", min=0, help="seconds to run seeds for, instead of --seeds; 0: use --seeds")
        ] = 0.0,
        seed: Annotated[int, typer.Option("--seed", min=0, help="the first seed")] = 0,
        keep: Annotated[
            str, typer.Option("--keep", help="with one seed: only the faults with these numbers, such as 0,3")
        ] = "",
    ) -> None:
        """Simulate domains under faults, without a guest. Exit code 1 when an invariant does not hold."""
        from testbed.errors import InputError
        from testbed.soak.faults import faults_of
        from testbed.soak.seeds import run, shrink

        kept: list[int] | None = None
        if keep:
            known = len(faults_of(seed))
            kept = [int(each) if each.isdecimal() else -1 for each in keep.split(",")]
            if not all(0 <= each < known for each in kept):
                raise InputError(
                    f"no such faults: {keep}", where="--keep", allowed=f"numbers from 0 to {known - 1}, with commas"
                )
            seeds, minutes = 1, 0.0
        began, number, steps = time.monotonic(), seed, 0
        faults: Counter[str] = Counter()
        checked: Counter[str] = Counter()
        while (time.monotonic() - began < 60 * minutes) if minutes else number < seed + seeds:
            verdict = run(number, kept)
            steps += verdict.steps
            faults.update(each.action for each in verdict.faults)
            checked.update(verdict.checked)
            if verdict.violated is not None:
                typer.echo(f"seed {number}: {verdict.violated}")
                numbers = kept if kept is not None else shrink(number, verdict.violated.invariant)
                for each in numbers:
                    fault = faults_of(number)[each]
                    args = " ".join(f"{name}={value}" for name, value in fault.model_dump(mode="json")["args"].items())
                    typer.echo(f"  {each}: {fault.action} at {fault.at_s:g} s: {args}")
                again = f" --keep {','.join(map(str, numbers))}" if numbers else ""
                typer.echo(f"again: lab soak --seed {number} --seeds 1{again}")
                raise typer.Exit(1)
            number += 1
        typer.echo(f"{number - seed} seeds, {steps} steps, {time.monotonic() - began:.0f} s")
        for title, counts in (("faults", faults), ("checks", checked)):
            typer.echo(f"{title}:")
            for name, count in sorted(counts.items()):
                typer.echo(f"  {count:9} {name}")
