"""Gathers the verbs into one program and gives every error its exit code.

0 done, 1 the thing measured failed, 2 bad input or usage, 3 the environment cannot do it, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib import import_module
from importlib.util import find_spec

import typer

from testbed.errors import LabError
from testbed.setup import children

VERBS = (
    "run", "test", "setup", "doctor", "clean", "validate", "topology", "up", "down", "shell", "vtysh", "capture",
    "decode", "fault", "report", "compare", "replay", "bench", "models", "fuzz", "soak", "abuse",
    "sweep", "reproduce", "calibrate",
)  # fmt: skip

app = typer.Typer(
    name="lab",
    help="A laboratory for automated keying of routers' control traffic.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the verb in sys.argv and leave with its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    for verb in VERBS:
        if find_spec(f"testbed.cli.{verb}") is not None:
            import_module(f"testbed.cli.{verb}").register(app)
    try:
        app(prog_name="lab")
    except LabError as error:
        _print(error)
        sys.exit(error.exit_code)


def _interrupted(number: int, _: object) -> None:
    """Guests and builds end at once: worker threads that wait for them would otherwise hold the program up."""
    for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(again, lambda number, _: os._exit(128 + number))  # no more patience; the kernel ends the rest
    children.end_all()
    print("lab: interrupted", file=sys.stderr)
    sys.exit(128 + number)


def _print(error: LabError) -> None:
    if "--json" in sys.argv:
        told = {"problem": error.problem, "where": error.where and str(error.where), "allowed": error.allowed}
        print(json.dumps({"error": {**told, "next_command": error.next_command}}))
    for line in error.lines():
        print(f"lab: {line}", file=sys.stderr)
