"""Gathers the verbs into one program and gives every error its exit code.

0 done, 1 the thing measured failed, 2 bad input or usage, 3 the environment cannot do it, 130 interrupted, 141 the
reader of standard output has gone. With --json, standard output holds one document: the answer, or else the error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

import typer

from agents.runtime import invalid, stdio
from agents.runtime.stderr import tell
from testbed.errors import InputError, Interrupted, LabError, of_file
from testbed.setup import children

VERBS = (
    "run", "test", "setup", "lock", "sbom", "doctor", "clean", "validate", "topology", "up", "down", "shell", "vtysh",
    "capture", "decode", "fault", "report", "view", "export", "demo", "docs", "compare", "replay", "bench", "models",
    "screenshots", "fuzz", "soak", "abuse", "sweep", "reproduce", "calibrate", "package",
)  # fmt: skip

app = typer.Typer(
    name="lab",
    help="A laboratory for automated keying of routers' control traffic.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's tables truncate names on a narrow terminal
)


_ClickException: Any = typer.BadParameter.__mro__[2]
"""The base class of usage errors, from whichever package typer has it."""


def main() -> None:
    """Run the verb in sys.argv and leave with its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    stdio.run("lab", _main)


@cache
def registered() -> typer.Typer:
    """The program with all of its verbs."""
    for verb in VERBS:
        import_module(f"testbed.cli.{verb}").register(app)
    return app


def _main() -> int:
    try:
        _refuse_empty(sys.argv[1:])
        return int(registered()(prog_name="lab", standalone_mode=False) or 0)
    except LabError as error:
        return _print_error(error)
    except _ClickException as error:
        return _usage(error)
    except OSError as error:  # from a file that a verb did not expect to fail
        return _print_error(of_file(error))


def _refuse_empty(words: list[str]) -> None:
    """Reject an empty argument, which a path would take for the current folder. Options check their own values."""
    mine = words[: words.index("--")] if "--" in words else words
    for index, word in enumerate(mine):
        if not word and not (index and mine[index - 1].startswith("-")):
            raise InputError("an argument is empty", next_command=f"lab {mine[0]} --help".replace("  ", " "))


def _usage(error: Any) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return InputError.exit_code
    command = "lab" if context is None else context.command_path
    where = None if command == "lab" else command
    problem, allowed = invalid.of_usage(error)
    return _print_error(InputError(problem, where=where, allowed=allowed, next_command=f"{command} --help"))


def _interrupted(number: int, _: object) -> None:
    """End guests and builds at once: worker threads that wait for them would otherwise keep the program alive."""
    for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(
            again, lambda number, _: os._exit(128 + number)
        )  # the user waits no longer; the kernel ends the rest
    children.end_all()
    with suppress(OSError):  # past the buffer, which may be in use at this moment
        os.write(2, b"lab: interrupted\n")
    raise Interrupted(128 + number)


def _print_error(error: LabError) -> int:
    """Print an error and return its exit code. Also prints it as JSON when standard output is still empty."""
    if _as_json() and not stdio.written():
        parts = {"problem": error.problem, "where": error.where and str(error.where), "allowed": error.allowed}
        print(json.dumps({"error": {**parts, "next_command": error.next_command}}))
    tell("lab", str(error))
    return error.exit_code


def _as_json() -> bool:
    """True when this verb itself, not a command that it runs in a node, is to print JSON."""
    words = sys.argv[1:]
    return "--json" in (words[: words.index("--")] if "--" in words else words)
