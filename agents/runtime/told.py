"""What a program says of an error on standard error, every line with its own name before it. Knows no errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from agents.runtime.exits import EXIT_USAGE

MISNAMED = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""What comes of a path that is not what was meant: bad input, and no failure of the system."""


def tell(program: str, text: str, next_command: str | None = None) -> None:
    """The error, and the command to try next."""
    lines = text.splitlines() or ["(no reason was given)"]
    for line in [*lines, *([f"  next:    {next_command}"] if next_command else [])]:
        print(f"{program}: {line}", file=sys.stderr)


def reason(error: Exception) -> str:
    """What went wrong, without the number that an OSError begins with."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def usage(program: str, error: Any) -> int:
    """An error of usage that click has found; its exit code."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return EXIT_USAGE
    command = program if context is None else context.command_path
    where = "" if command == program else f"{command}: "
    tell(program, f"{where}{error.format_message()}", f"{command} --help")
    return EXIT_USAGE


def empty_word(words: Sequence[str]) -> str | None:
    """What is wrong where a word or an option's value is empty; None when none is. No path, name or reason is."""
    for before, word in zip(["", *words], words, strict=False):
        name, separator, value = word.partition("=")
        if not word or (name.startswith("--") and separator and not value):
            where = name or (before if before.startswith("-") else "")
            return f"{where or 'a word of the command'} is empty; was a variable of the shell not set?"
    return None


class Words(argparse.ArgumentParser):
    """A command line whose errors of usage look as all others."""

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As of ArgumentParser; no word may be empty."""
        wrong = empty_word(sys.argv[1:] if args is None else args)
        if wrong is not None:
            self.error(wrong)
        return super().parse_intermixed_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        tell(self.prog, message, f"{self.prog} --help")
        raise SystemExit(EXIT_USAGE)
