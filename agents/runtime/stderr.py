"""A program's errors on standard error, each line with the program's name in front. Knows no errors."""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from agents.runtime import invalid
from agents.runtime.exits import EXIT_USAGE

MISNAMED = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""The errors of a wrong path: bad input, not a failure of the system."""


def tell(program: str, text: str, next_command: str | None = None) -> None:
    """The error, and the command to try next."""
    lines = text.splitlines() or ["(no reason was given)"]
    for line in [*lines, *([f"  next:    {next_command}"] if next_command else [])]:
        print(f"{program}: {line}", file=sys.stderr)


def reason(error: Exception) -> str:
    """The reason, without the number at the beginning of an OSError."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def advised(error: Exception) -> str:
    """The reason, and the command that shows or repairs it: from the error's own notes, or by its number."""
    text, notes = reason(error), getattr(error, "__notes__", [])
    if notes or not isinstance(error, OSError):
        return "\n".join([text, *(f"  next:    {each}" for each in notes)])
    file = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else Path()
    command = _LOOK.get(error.errno or 0)
    if command is None:
        return text
    return f"{text}\n  next:    {command.format(path=file, folder=file if os.path.isdir(file) else file.parent)}"


_LOOK = {
    errno.ENOENT: "ls -l {folder}",
    errno.EACCES: "namei -l {path}",
    errno.EPERM: "namei -l {path}",
    errno.ELOOP: "namei -l {path}",
    errno.ENOTDIR: "namei -l {path}",
    errno.EISDIR: "ls -ld {path}",
    errno.EINVAL: "ls -l {path}",
    errno.EFBIG: "ls -l {path}",
    errno.ENOSPC: "df -h {folder}; df -i {folder}",
    errno.EDQUOT: "quota; df -h {folder}",
    errno.EROFS: "findmnt -T {folder}; a unit may write below its StateDirectory only",
    errno.EIO: "journalctl -k -p err",
    errno.EMFILE: "ulimit -n; LimitNOFILE= in the unit",
    errno.ENAMETOOLONG: "use a shorter path",
}
"""The command that shows why, by the error's number."""


def usage(program: str, error: Any) -> int:
    """An error of usage that click has found; its exit code."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return EXIT_USAGE
    command = program if context is None else context.command_path
    where = "" if command == program else f"{command}: "
    problem, allowed = invalid.of_usage(error)
    tell(program, f"{where}{problem}" + (f"\n  allowed: {allowed}" if allowed else ""), f"{command} --help")
    return EXIT_USAGE


def wrong_word(words: Sequence[str]) -> str | None:
    """The error of an empty or non-UTF-8 word or option value; None if all are fine. No path, name or reason may be
    empty either: it could not be kept or shown as given."""
    for before, word in zip(["", *words], words, strict=False):
        name, separator, value = word.partition("=")
        if not word or (name.startswith("--") and separator and not value):
            where = name or (before if before.startswith("-") else "")
            return f"{where or 'a word of the command'} is empty; is a variable of the shell unset?"
        if not _is_text(word):
            where = name if separator and name.startswith("--") else before if before.startswith("-") else ""
            return f"{where or 'a word of the command'} is {word!r}\n  allowed: UTF-8"
    return None


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:  # octets that were not UTF-8 arrive as lone surrogates
        return False
    return True


class Words(argparse.ArgumentParser):
    """A command line whose usage errors have this project's form."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As of ArgumentParser. No word may be empty, and options may stand before the command. Without a word it
        prints the help and ends; options alone are those of `run`, as up to 0.1.0."""
        words = list(sys.argv[1:] if args is None else args)
        wrong = wrong_word(words)
        if wrong is not None:
            self.error(wrong)
        if self._commands:
            words = self._command_first(words)
        arguments, others = self.parse_known_args(words, namespace)
        if others:
            command = getattr(arguments, "command", None)
            self.error(f"{command or self.prog} takes no {others[0]}", command)
        return arguments

    @property
    def _commands(self) -> list[str]:
        subparsers = [each for each in self._actions if isinstance(each, argparse._SubParsersAction)]
        return [name for each in subparsers for name in each.choices]

    def _command_first(self, words: list[str]) -> list[str]:
        if not words:
            self.print_help(sys.stderr)
            raise SystemExit(EXIT_USAGE)
        if not words[0].startswith("-"):
            self._check_command(words[0])
        elif words[0] not in ("-h", "--help", "--version"):
            command = next((each for each in words if each in self._commands), None)
            if command is not None:
                words.remove(command)
                return [command, *words]
            tell(self.prog, f"options without a command are deprecated; write: {self.prog} run {' '.join(words)}")
            return ["run", *words]
        return words

    def _check_command(self, word: str) -> None:
        if word not in self._commands:
            near = difflib.get_close_matches(word, self._commands, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            self.error(f"no such command: {word!r}{meant}\n  allowed: {', '.join(self._commands)}")

    def error(self, message: str, command: str | None = None) -> NoReturn:
        program, _, within = self.prog.partition(" ")
        help_of = f"{self.prog} {command}" if command else self.prog
        tell(program, f"{within}: {message}" if within else message, f"{help_of} --help")
        raise SystemExit(EXIT_USAGE)
