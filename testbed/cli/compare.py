"""`lab compare`: what changed between two results folders, and whether it is more than chance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.errors import InputError


def register(app: typer.Typer) -> None:
    @app.command()
    def compare(
        first: Annotated[Path, typer.Argument(help="a results folder")],
        second: Annotated[Path, typer.Argument(help="another one of the same experiment")],
        as_json: Annotated[bool, typer.Option("--json", help="for a program")] = False,
    ) -> None:
        """The ratio of the median convergence times, second to first, with a 95 % interval."""
        from testbed.analysis.compare import ratio_of_medians

        a, b = _summary(first), _summary(second)
        if a["experiment"] != b["experiment"]:
            raise InputError(
                f"{a['experiment']} and {b['experiment']} are two experiments", allowed="results of one experiment"
            )
        rows = []
        for keying in (name for name in a["keyings"] if name in b["keyings"]):
            values = [side["keyings"][keying]["convergence_s"]["values"] for side in (a, b)]
            # Leaving such runs out would compare only those that went well.
            never = [sum(value is None for value in side) for side in values]
            if any(never) or not all(values):
                of = [f"{count} of {len(side)}" for count, side in zip(never, values, strict=True)]
                rows.append(
                    {
                        "keying": keying,
                        "ratio": None,
                        "low": None,
                        "high": None,
                        "verdict": f"never converged: {of[0]} and {of[1]}",
                    }
                )
                continue
            found = ratio_of_medians(values[0], values[1])
            verdict = {None: "too few runs to tell", True: "a real difference", False: "no difference shown"}[
                found.real
            ]
            rows.append(
                {"keying": keying, "ratio": found.value, "low": found.low, "high": found.high, "verdict": verdict}
            )
        if as_json:
            typer.echo(json.dumps(rows, indent=1))
            return
        for row in rows:
            interval = f" ({row['low']:.3f} to {row['high']:.3f})" if row["low"] is not None else ""
            shown = f"{row['ratio']:.3f}{interval}" if row["ratio"] is not None else "–"
            typer.echo(f"{row['keying']:14} {shown:28} {row['verdict']}")


def _summary(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "summary.json").read_text())  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise InputError(
            f"no summary can be read: {error}", where=str(folder), allowed="a folder that `lab run` wrote"
        ) from error
