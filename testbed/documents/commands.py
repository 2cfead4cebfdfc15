"""The reference of commands: every verb's help, as its program prints it.

Knows the programs and nothing of what their verbs do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from testbed.setup.paths import PROJECT

WIDTH = 80


def page() -> str:
    """The page, in Markdown: a section for each program, and below it one for each verb."""
    from agents.policy.cli import app as policy
    from testbed.cli.main import registered

    parts = [
        "# Commands\n\nEvery program and verb with its `--help`. Exit codes are 0 for done, 1 when the thing that was "
        "measured or checked failed, 2 for bad input or usage, and 3 when this machine cannot do it."
    ]
    for name, app in (("lab", registered()), ("policy", policy)):
        parts += [_section(*each) for each in _verbs(app, name)]
    parts += [_section(2, name, _printed(f"agents.{name}")) for name in ("lks", "dks")]
    return "\n\n".join(parts) + "\n"


def _section(depth: int, path: str, text: str) -> str:
    return f"{'#' * depth} {path}\n\n```text\n{text}\n```"


def _printed(module: str) -> str:
    """What a program prints for `--help`."""
    words = [sys.executable, "-m", module, "--help"]
    environment = {**os.environ, "COLUMNS": str(WIDTH)}
    return subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True).stdout


def _verbs(app: Any, name: str) -> Iterator[tuple[int, str, str]]:
    from typer.main import get_command

    root = get_command(app)
    root.name = name
    yield from _walk(root, root.context_class(root, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH), 2)


def _walk(command: Any, context: Any, depth: int) -> Iterator[tuple[int, str, str]]:
    """Depth of the heading, the words to type, and the help of a command and all below it."""
    yield min(depth, 4), context.command_path, command.get_help(context).strip()
    for name, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            inner = below.context_class(
                below, info_name=name, parent=context, terminal_width=WIDTH, max_content_width=WIDTH
            )
            yield from _walk(below, inner, depth + 1)
