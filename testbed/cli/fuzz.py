"""`lab fuzz`: feeds hostile octets to every parser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def fuzz(
        target: Annotated[list[str] | None, typer.Argument(help="parsers; default: all, one after the other")] = None,
        seconds: Annotated[float, typer.Option("--seconds", min=1, help="seconds for each target")] = 60.0,
        seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
        engine: Annotated[str, typer.Option("--engine", help="auto, atheris or mutation")] = "auto",
        findings: Annotated[Path, typer.Option("--findings", help="folder for inputs that break a bound")] = Path(
            "fuzz-findings"
        ),
    ) -> None:
        """Feed mutated inputs to parsers and parties, without a guest. Exit code 1 for a finding."""
        from fuzz.__main__ import main
        from fuzz.harness import names
        from testbed.errors import InputError
        from testbed.setup import python_env

        for name in target or ():
            if name not in names():
                raise InputError(f"unknown target {name!r}", allowed=", ".join(names()), next_command="lab fuzz --help")
        if engine not in ("auto", "atheris", "mutation"):
            raise InputError(f"unknown engine {engine!r}", where="--engine", allowed="auto, atheris, mutation")
        if engine != "mutation":
            python_env.use("fuzz")
        words = ["--seconds", str(seconds), "--seed", str(seed), "--engine", engine, "--findings", str(findings)]
        if main([*(target or ()), *words]):
            raise typer.Exit(1)
