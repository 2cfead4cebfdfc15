"""`lab up TOPOLOGY`: runs a laboratory on the real clock, with Mininet's prompt."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli.cautions import OSPF, loaded
from testbed.errors import InputError

if TYPE_CHECKING:
    from testbed.attach.running import Running
    from testbed.guest.boot import GuestResult, GuestSpec


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def up(
        topology: Annotated[str, typer.Argument(help="A name, a generator (ring:20), or a file.")],
        ospf: Annotated[str | None, typer.Option(help=f"{OSPF}.")] = None,
        keying: Annotated[str, typer.Option(help="The keying mode.")] = "none",
        kernel: Annotated[str, typer.Option(help="uml or native, which have the real clock.")] = "uml",
        name: Annotated[str | None, typer.Option(help="Its name, for --lab.")] = None,
        seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Decides keys and addresses.")] = 1,
        capture: Annotated[bool, typer.Option(help="Capture every interface into pcap files.")] = False,
        view: Annotated[bool, typer.Option("--view", help="Show it on a page on the loopback while it runs.")] = False,
        port: Annotated[int, typer.Option(min=0, max=65535, help="Port of that page; 0: any.")] = 0,
        option: Annotated[
            list[str] | None,
            typer.Option("-o", "--option", help="NAME=VALUE, as for lab run: mode=clear, …"),
        ] = None,
    ) -> None:
        """Start a laboratory and give the mininet> prompt; leaving the prompt ends it.

        Without a terminal, as in `lab up ring:4 < script`, the lines of standard input are the commands; their end ends
        the laboratory, with exit code 0. In other terminals: lab shell, lab vtysh, lab capture, lab fault, lab down.
        """
        from testbed.attach.channel import CONSOLE
        from testbed.attach.running import Running
        from testbed.cli.run import options
        from testbed.cli.watch import watched
        from testbed.errors import raise_errors
        from testbed.faults.check import check_plan
        from testbed.faults.steps import MAX_S
        from testbed.guest.boot import GuestSpec, run_guest
        from testbed.keying.base import KEYINGS
        from testbed.owned import plain_name
        from testbed.record.plan import Plan
        from testbed.runner.execute import folders_of
        from testbed.runner.options import choose, unknown_keying, unread
        from testbed.setup.paths import cache_dir

        if kernel not in ("uml", "native"):
            raise InputError(
                f"an interactive laboratory cannot run on kernel {kernel!r}",
                where="--kernel",
                allowed="uml, native",
            )
        if name is not None:
            plain_name(name, "--name")
        if keying not in KEYINGS:
            raise unknown_keying(keying, "--keying")
        wrong: list[InputError] = []
        given = options(option or (), wrong)
        raise_errors([*wrong, *unread(given, [keying], {})])
        chosen = choose({}, keying, given, "lab up")
        resolved = loaded(topology, ospf)
        name = name or f"{resolved.name[:50]}-{os.getpid()}"
        plan = Plan(
            experiment="up",
            topology=resolved,
            keying=keying,
            seed=seed,
            duration_s=MAX_S,
            live=view,
            captures="all" if capture else chosen.captures,
            options=chosen.options,
        )
        check_plan(plan)
        lab = Running(cache_dir() / "up" / name)
        command: tuple[str, ...] = ("python3", "-u", "-m", "testbed.inside", "--interactive", "/lab/run/plan.json")
        console = sys.stdin.isatty() and sys.stdout.isatty()
        if not console:
            command = ("python3", "-m", "testbed.inside.carry", f"/lab/run/control/streams/{CONSOLE}", *command)
        spec = GuestSpec(kernel, command, lab.folder, seed=seed, console=console, folders=folders_of(plan))  # type: ignore[arg-type]
        with lab.begun():
            plan.write(lab.folder / "plan.json")
            with watched(view, port, lambda: lab.folder):
                result = run_guest(spec) if console else _scripted(lab, spec)
        raise typer.Exit(result.exit_code)


def _scripted(lab: Running, spec: GuestSpec) -> GuestResult:
    """Run the guest with this terminal as its prompt."""
    from testbed.cli.shell import write_out
    from testbed.guest.boot import run_guest
    from testbed.runner.execute import pool_of

    with pool_of(1) as pool:
        guest = pool.submit(run_guest, spec)
        lab.converse(write_out, guest.done)
        return guest.result()
