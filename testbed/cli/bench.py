"""`lab bench`: how fast the laboratory is, as ratios measured in one run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

REQUIRED_SPEED = 5.0


def register(app: typer.Typer) -> None:
    @app.command()
    def bench(
        topology: Annotated[str, typer.Option(help="what to run link_cut on")] = "ring:20",
        as_json: Annotated[bool, typer.Option("--json", help="for a program")] = False,
    ) -> None:
        """Virtual seconds per second of wall time, of link_cut without security and with LKSs, one after the other.

        Exit code 1 when the run with LKSs is slower than 5 times real time.
        """
        from testbed.runner import execute, session
        from testbed.setup.all import make_all

        make_all("virtual")
        rows: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
            for keying in ("none", "lks"):
                request = session.Request(
                    "link_cut", topology=topology, keyings=(keying,), seeds=(1,), jobs=1, out=Path(folder) / keying
                )
                done = session.run(request, lambda *_: None)
                if problem := execute.first_problem(done.outcomes):
                    raise problem
                (outcome,) = done.outcomes
                speed = outcome.virtual_s / outcome.wall_s
                rows.append(
                    {
                        "keying": keying,
                        "virtual_s": outcome.virtual_s,
                        "wall_s": outcome.wall_s,
                        "speed": round(speed, 2),
                    }
                )
        if as_json:
            typer.echo(json.dumps({"experiment": "link_cut", "topology": topology, "runs": rows}, indent=1))
        else:
            for row in rows:
                typer.echo(
                    f"link_cut {topology} {row['keying']:5} {row['virtual_s']:.0f} s in {row['wall_s']:.1f} s: "
                    f"{row['speed']:.1f} × real time"
                )
            typer.echo(f"lks against none: {rows[0]['wall_s'] / rows[1]['wall_s']:.2f} × the speed")
        if rows[-1]["speed"] < REQUIRED_SPEED:
            raise typer.Exit(1)
