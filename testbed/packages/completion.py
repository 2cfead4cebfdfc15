"""Completion of a program's commands and options in bash, zsh and fish, by shtab."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import shtab

from testbed.packages.words import takes_files

PLACES = {
    "bash": "usr/share/bash-completion/completions/{}",
    "zsh": "usr/share/zsh/vendor-completions/_{}",
    "fish": "usr/share/fish/vendor_completions.d/{}.fish",
}
"""Where each shell of Debian looks for a program's."""


def completions(program: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """The place in the system, and the text, for each shell."""
    _mark(parser)
    for shell, file in PLACES.items():
        yield file.format(program), shtab.complete(parser, shell)


def _mark(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                _mark(each)
        elif takes_files(action):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
