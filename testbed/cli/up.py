"""`lab up TOPOLOGY`: a running laboratory on the real clock, with Mininet's prompt."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from testbed.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def up(
        topology: Annotated[str, typer.Argument(help="A name, a generator (ring:20), or a file.")],
        keying: Annotated[str, typer.Option(help="How the routers get their keys.")] = "none",
        kernel: Annotated[str, typer.Option(help="uml or native: people need the real clock.")] = "uml",
        name: Annotated[str | None, typer.Option(help="Its name, for --lab.")] = None,
        seed: Annotated[int, typer.Option(help="Keys and addresses repeat with it.")] = 1,
        capture: Annotated[bool, typer.Option(help="Capture every interface into pcap files.")] = False,
    ) -> None:
        """Start a laboratory and give the mininet> prompt; leaving the prompt ends it.

        In other terminals: lab shell, lab vtysh, lab capture, lab fault, lab down.
        """
        from testbed.cli.cautions import loaded
        from testbed.faults.check import check_plan
        from testbed.guest.boot import GuestSpec, run_guest
        from testbed.inside.running import Running
        from testbed.owned import claim, plain_name
        from testbed.record.plan import Plan
        from testbed.setup.paths import cache_dir

        if kernel not in ("uml", "native"):
            raise InputError(
                f"a laboratory for people cannot run on kernel {kernel!r}",
                where="--kernel",
                allowed="uml, native",
            )
        if name is not None:
            plain_name(name, "--name")
        resolved = loaded(topology)
        name = name or plain_name(f"{resolved.name}-{os.getpid()}", topology)
        plan = Plan(
            experiment="up",
            topology=resolved,
            keying=keying,
            seed=seed,
            duration_s=1e9,
            captures="all" if capture else (),
        )
        check_plan(plan)
        lab = Running(cache_dir() / "up" / name)
        if lab.processes():
            raise InputError(f"a laboratory {lab.name!r} is up", where="--name", next_command="lab down")
        claim(lab.folder, str(lab.folder))
        plan.write(lab.folder / "plan.json")
        try:
            spec = GuestSpec(
                kernel=kernel,  # type: ignore[arg-type]
                command=("python3", "-m", "testbed.inside", "--interactive", "/lab/run/plan.json"),
                run_dir=lab.folder,
                seed=seed,
                console=True,
            )
            result = run_guest(spec)
        finally:
            lab.end()
        raise typer.Exit(result.exit_code)
