"""`lab report`: measure and draw again from records that are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.errors import InputError


def register(app: typer.Typer) -> None:
    @app.command()
    def report(folder: Annotated[Path, typer.Argument(help="a results folder that lab run wrote")]) -> None:
        """Compute summary, figures and report.html of a results folder anew from its records."""
        from testbed.cli.run import print_summary
        from testbed.runner.execute import locked

        with locked(folder):
            print_summary(again(folder), folder)


def again(folder: Path) -> dict[str, Any]:
    """Measure and draw a results folder anew; its summary. Raises InputError for a folder without one."""
    from testbed.runner import session, simulated
    from testbed.runner.execute import Outcome
    from testbed.runner.experiment import find

    try:
        kept = json.loads((folder / "summary.json").read_text())
        outcomes = [
            Outcome(run["keying"], run["seed"], folder / run["folder"], run["status"], run["wall_s"], run["virtual_s"])
            for run in kept["runs"]
        ]
        about = {name: kept[name] for name in ("topology", "routers", "kernel", "command", "seeds")}
        about["source"] = kept.get("source")
        experiment = find(about["source"] or kept["experiment"])
        provenance = kept["provenance"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"no results can be read: {error}", where=str(folder), allowed="a folder that `lab run` wrote"
        ) from error
    if isinstance(experiment, simulated.Simulated):
        return simulated.conclude(experiment, outcomes, folder, {**about, "provenance": provenance})
    return session.conclude(experiment, outcomes, about, folder, provenance)
